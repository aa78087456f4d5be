// AVX-512 with VNNI and BF16 (Zen 4, Sapphire Rapids without AMX).
#define DISCO_ISA avx512_bf16

#include "vector.hpp"
#include "workspace.hpp"

namespace disco::DISCO_ISA {
#include "products_vnni.hpp"
}

#include "table.hpp"
