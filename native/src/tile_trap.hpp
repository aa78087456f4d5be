// For tests of the tiles' own machine code on a CPU that has none.
#pragma once

namespace disco {

// From now on illegal instructions of this process that tiles would understand are done in its place.
void trap_tiles();

}  // namespace disco
