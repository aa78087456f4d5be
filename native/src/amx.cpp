// AVX-512 with BF16, and tiles for the products (Sapphire Rapids and later).
#define DISCO_ISA amx

#include "vector.hpp"
#include "workspace.hpp"

namespace disco::DISCO_ISA {
#include "tiles.hpp"

#include "products_tiles.hpp"
}

#include "table.hpp"
