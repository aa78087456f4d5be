// Plain C++ for any CPU: the reference. Too slow to serve.
#define DISCO_ISA generic

#include "vector.hpp"
#include "workspace.hpp"

namespace disco::DISCO_ISA {
#include "products_generic.hpp"
}

#include "table.hpp"
