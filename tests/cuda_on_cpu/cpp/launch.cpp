// The driver's side: modules, functions, and running a grid of threads.
#include <dlfcn.h>
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "device.hpp"
#include "kernel_abi.hpp"

namespace sim {

struct Function {
  std::string name;
  const sim_kernel* kernel;
};
struct Module {
  void* library;
  std::map<std::string, Function> functions;
};
using Arguments = std::vector<std::vector<char>>;

// ------------------------------------------------ threads that wait for each other
extern "C" __attribute__((visibility("hidden"))) void sim_switch(void** from, void* to);
asm(R"(
.text
.hidden sim_switch
.globl sim_switch
.type sim_switch,@function
sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

constexpr size_t stack_size = size_t{16} << 10;
constexpr int warp_size = 32;

enum class Waits { no, for_warp, for_block, for_ever };
struct Fibre {
  void* stack;
  Waits waits;
};
static void* host_stack;
static Fibre* running;
static const sim_kernel* running_kernel;
static void** running_arguments;

static void stop(Waits waits) {
  running->waits = waits;
  sim_switch(&running->stack, host_stack);
}

static void barrier(int of_warp) { stop(of_warp ? Waits::for_warp : Waits::for_block); }

static void fibre_main() {
  running_kernel->body(running_arguments);
  stop(Waits::for_ever);
}

static void prepare(Fibre& fibre, char* stack) {
  auto** top = reinterpret_cast<void**>(stack + stack_size);
  *--top = nullptr;  // keeps the stack aligned as a call would
  *--top = reinterpret_cast<void*>(fibre_main);
  for (int registers = 0; registers < 6; ++registers) *--top = nullptr;
  fibre = {top, Waits::no};
}

// Let threads go on if all that are left of them wait for each other.
static bool release(Fibre* first, Fibre* last, Waits waits) {
  bool any = false;
  for (Fibre* fibre = first; fibre < last; ++fibre) {
    if (fibre->waits != waits && fibre->waits != Waits::for_ever) return false;
    any = any || fibre->waits == waits;
  }
  for (Fibre* fibre = first; fibre < last; ++fibre)
    if (fibre->waits == waits) fibre->waits = Waits::no;
  return any;
}

static bool release_all(std::vector<Fibre>& fibres) {
  Fibre *first = fibres.data(), *last = first + fibres.size();
  bool any = release(first, last, Waits::for_block);
  for (Fibre* warp = first; warp < last; warp += warp_size)
    any = release(warp, std::min(warp + warp_size, last), Waits::for_warp) || any;
  return any;
}

// Returns whether all threads came to their ends.
static bool run_block(std::vector<Fibre>& fibres, char* stacks) {
  for (size_t k = 0; k < fibres.size(); ++k) prepare(fibres[k], stacks + k * stack_size);
  const sim_index& size = *running_kernel->threads;
  do {
    for (unsigned k = 0; k < fibres.size(); ++k) {
      if (fibres[k].waits != Waits::no) continue;
      *running_kernel->thread = {k % size.x, k / size.x % size.y, k / size.x / size.y};
      running = &fibres[k];
      sim_switch(&host_stack, running->stack);
    }
  } while (release_all(fibres));
  return std::all_of(fibres.begin(), fibres.end(),
                     [](const Fibre& fibre) { return fibre.waits == Waits::for_ever; });
}

static void run_with_barriers(const sim_kernel* kernel, void** arguments, const Grid& grid,
                              unsigned first) {
  const unsigned *g = grid.grid, *b = grid.block;
  const unsigned blocks = g[0] * g[1] * g[2];
  std::vector<Fibre> fibres(b[0] * b[1] * b[2]);
  static std::vector<char> stacks;  // kept: a fault leaves by a jump
  stacks.resize(fibres.size() * stack_size + 64);
  char* aligned = stacks.data() + (64 - reinterpret_cast<uintptr_t>(stacks.data()) % 64);
  running_kernel = kernel;
  running_arguments = arguments;
  *kernel->barrier = barrier;
  *kernel->threads = {b[0], b[1], b[2]};
  *kernel->blocks = {g[0], g[1], g[2]};
  for (unsigned k = 0; k < blocks; ++k) {
    const unsigned at = (k + first) % blocks;
    *kernel->block = {at % g[0], at / g[0] % g[1], at / g[0] / g[1]};
    if (run_block(fibres, aligned)) continue;
    state.sticky = cudaErrorLaunchFailure;
    state.fault = "a barrier that some threads never come to";
    return;
  }
}

constexpr unsigned flush_bits = 0x8040;  // flush to zero, denormals are zero

static void run_kernel(const sim_kernel* kernel, const Arguments& arguments, const Grid& grid) {
  std::vector<void*> places;
  for (const auto& bytes : arguments) places.push_back(const_cast<char*>(bytes.data()));
  // Blocks may run in any order: a random schedule begins in the middle.
  const unsigned blocks = grid.grid[0] * grid.grid[1] * grid.grid[2];
  const unsigned first = coin() ? blocks / 2 : 0;
  const unsigned before = _mm_getcsr();
  if (kernel->flushes) _mm_setcsr(before | flush_bits);
  if (kernel->synchronizes) run_with_barriers(kernel, places.data(), grid, first);
  else kernel->run(places.data(), grid.grid, grid.block, first);
  _mm_setcsr(before);
}

}  // namespace sim

using namespace sim;

constexpr const char image_start[] = "CUDA on the CPU:";

API CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
// NVRTC asks for a table that is not documented, and does without where there is none.
API CUresult cuGetExportTable(const void** table, const CUuuid*) {
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}

API CUresult cuModuleLoadData(CUmodule* made, const void* image) {
  CALL(cuModuleLoadData);
  const char* text = static_cast<const char*>(image);
  if (std::strncmp(text, image_start, sizeof image_start - 1)) return CUDA_ERROR_INVALID_IMAGE;
  void* library = dlopen(text + sizeof image_start - 1, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    state.fault = dlerror();
    return CUDA_ERROR_INVALID_IMAGE;
  }
  *made = reinterpret_cast<CUmodule>(new Module{library, {}});
  return CUDA_SUCCESS;
}

API CUresult cuModuleUnload(CUmodule) {  // kept: graphs may still run its kernels
  CALL(cuModuleUnload);
  return CUDA_SUCCESS;
}

API CUresult cuModuleGetFunction(CUfunction* found, CUmodule handle, const char* name) {
  CALL(cuModuleGetFunction);
  auto* module = reinterpret_cast<Module*>(handle);
  auto place = module->functions.find(name);
  if (place == module->functions.end()) {
    void* symbol = dlsym(module->library, (std::string("sim_kernel_") + name).c_str());
    if (!symbol) return CUDA_ERROR_NOT_FOUND;
    const Function function{name, static_cast<const sim_kernel*>(symbol)};
    place = module->functions.emplace(name, function).first;
  }
  *found = reinterpret_cast<CUfunction>(&place->second);
  return CUDA_SUCCESS;
}

API CUresult cuLaunchKernel(CUfunction handle, unsigned gx, unsigned gy, unsigned gz,
                            unsigned bx, unsigned by, unsigned bz, unsigned,
                            CUstream stream_handle, void** parameters, void**) {
  CALL(cuLaunchKernel);
  const auto* function = reinterpret_cast<Function*>(handle);
  Stream* stream = find_stream(stream_handle);
  if (!stream || stream->device != current_device) return CUDA_ERROR_INVALID_HANDLE;
  if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024)
    return CUDA_ERROR_INVALID_VALUE;
  const sim_kernel* kernel = function->kernel;
  Arguments arguments;
  for (int k = 0; k < kernel->count; ++k) {
    const char* bytes = static_cast<const char*>(parameters[k]);
    arguments.emplace_back(bytes, bytes + kernel->sizes[k]);
  }
  const Grid grid{{gx, gy, gz}, {bx, by, bz}};
  ++state.counts["launches"];
  state.launched.push_back(function->name);
  Work work = [kernel, arguments = std::move(arguments), grid] {
    run_kernel(kernel, arguments, grid);
  };
  auto error = enqueue(stream, function->name, guarded(function->name, std::move(work)));
  return static_cast<CUresult>(error);
}

API CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction) {
  CALL(cuFuncGetAttribute);
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : 0;
  return CUDA_SUCCESS;
}

API CUresult cuOccupancyMaxPotentialBlockSize(int* grid, int* block, CUfunction,
                                              CUoccupancyB2DSize, size_t, int) {
  CALL(cuOccupancyMaxPotentialBlockSize);
  *grid = 132;
  *block = 256;
  return CUDA_SUCCESS;
}

API CUresult cuCtxGetCurrent(CUcontext* context) {
  CALL(cuCtxGetCurrent);
  *context = reinterpret_cast<CUcontext>(static_cast<uintptr_t>(current_device + 1));
  return CUDA_SUCCESS;
}

API CUresult cuCtxSetCurrent(CUcontext) {
  CALL(cuCtxSetCurrent);
  return CUDA_SUCCESS;
}

API CUresult cuCtxGetDevice(CUdevice* device) {
  CALL(cuCtxGetDevice);
  *device = current_device;
  return CUDA_SUCCESS;
}
