// The tiles' logic in plain C++, for the tests. Slow.
#define DISCO_ISA amx_emulated
#define DISCO_EMULATE_TILES
#include "vector.hpp"
#include "workspace.hpp"

namespace disco::DISCO_ISA {
#include "tiles.hpp"

#include "products_tiles.hpp"
}

#include "table.hpp"
