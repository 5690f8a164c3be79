// What a compiled kernel tells the device that launches it.
#pragma once

struct sim_index {
  unsigned x, y, z;
};

struct sim_kernel {
  // Runs all blocks, beginning with `first`; for kernels without barriers.
  void (*run)(void** arguments, const unsigned* grid, const unsigned* block, unsigned first);
  void (*body)(void** arguments);  // one thread
  const unsigned long* sizes;      // of the arguments, in bytes
  int count;
  bool synchronizes, flushes;  // has barriers; takes denormals for zero
  sim_index *thread, *block, *threads, *blocks;
  void (**barrier)(int of_warp);
};
