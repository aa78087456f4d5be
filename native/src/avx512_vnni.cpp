// AVX-512 with VNNI (Ice Lake, Cascade Lake): bf16 is widened to fp32 on the way.
#define DISCO_ISA avx512_vnni

#include "vector.hpp"
#include "workspace.hpp"

namespace disco::DISCO_ISA {
#include "products_vnni.hpp"
}

#include "table.hpp"
