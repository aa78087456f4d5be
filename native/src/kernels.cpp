#include "kernels.hpp"

#include <stdexcept>

#ifdef DISCO_TRAP_TILES
#include "tile_trap.hpp"
#endif

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace disco {

#if defined(__x86_64__)
namespace amx {
extern const Kernels kernels;
}
namespace avx512_bf16 {
extern const Kernels kernels;
}
namespace avx512_vnni {
extern const Kernels kernels;
}
#endif
namespace amx_emulated {
extern const Kernels kernels;
}
namespace generic {
extern const Kernels kernels;
}

namespace {

bool always() { return true; }

#if defined(__x86_64__)

bool has_vnni() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

bool has_bf16() { return has_vnni() && __builtin_cpu_supports("avx512bf16"); }

// The tiles' registers are large: Linux gives them to a process that asks.
bool may_use_tiles() {
    constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_tiles() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
    constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24, kInt8 = 1u << 25;
    constexpr unsigned kAll = kBf16 | kTiles | kInt8;
    return (edx & kAll) == kAll && may_use_tiles();
}

bool has_amx() {
#ifdef DISCO_TRAP_TILES
    static const bool trapped = !has_tiles() && (trap_tiles(), true);
    return has_bf16() && (trapped || has_tiles());
#else
    return has_bf16() && has_tiles();
#endif
}

#endif

struct Entry {
    const Kernels* kernels;
    bool (*runs_here)();
};

// Fastest first.
const Entry kTable[] = {
#if defined(__x86_64__)
    {&amx::kernels, has_amx},
    {&avx512_bf16::kernels, has_bf16},
    {&avx512_vnni::kernels, has_vnni},
#endif
    {&generic::kernels, always},
    {&amx_emulated::kernels, always},
};

}  // namespace

std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> found;
    for (const Entry& entry : kTable) {
        if (entry.runs_here()) found.push_back(entry.kernels);
    }
    return found;
}

const Kernels& find_kernels(const std::string& name) {
    std::string known;
    for (const Entry& entry : kTable) {
        if (name == entry.kernels->name) {
            if (entry.runs_here()) return *entry.kernels;
            throw std::invalid_argument("this CPU lacks the instruction set " + name + ", or Linux does not grant it");
        }
        known += std::string(known.empty() ? "" : ", ") + entry.kernels->name;
    }
    throw std::invalid_argument("no instruction set '" + name + "'; there are " + known);
}

}  // namespace disco
