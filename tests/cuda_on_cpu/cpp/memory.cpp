// Memory of the device: pages between guards, whose addresses are never used again.
#include <sys/mman.h>

#include <cstring>

#include "device.hpp"

namespace sim {

constexpr size_t page = 4096, alignment = 512;
constexpr size_t range = size_t{1} << 42;            // addresses of one device
constexpr size_t poisoned = size_t{64} << 20;        // at most: larger blocks take time
constexpr unsigned char poison = 0xA5;

struct Block {
  size_t size, pages;  // in bytes, of the data and of the pages that hold it
};
struct Arena {
  uintptr_t start = 0, next = 0;
  std::map<uintptr_t, Block> blocks;  // by the address of the data
};
static Arena arenas[most_devices];
static std::map<uintptr_t, size_t> pinned;

static size_t up(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

static bool reserve(Arena& arena) {
  if (arena.start) return true;
  void* place = mmap(nullptr, range, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return false;
  arena.start = arena.next = reinterpret_cast<uintptr_t>(place);
  return true;
}

static size_t left(int device) {
  const size_t taken = state.used[device] + state.elsewhere;
  return taken < state.capacity ? state.capacity - taken : 0;
}

// The data ends where a page that cannot be touched begins.
static void* take(int device, size_t size) {
  Arena& arena = arenas[device];
  const size_t pages = up(size, page);
  if ((pages > left(device) && !state.spills) || !reserve(arena)) return nullptr;
  const uintptr_t start = arena.next + page;
  if (start + pages + page > arena.start + range) return nullptr;
  if (mprotect(reinterpret_cast<void*>(start), pages, PROT_READ | PROT_WRITE)) return nullptr;
  arena.next = start + pages;
  state.used[device] += pages;
  const uintptr_t data = start + pages - up(size, alignment);
  auto* bytes = reinterpret_cast<unsigned char*>(data);
  if (size <= poisoned) std::memset(bytes, poison, size);
  std::memset(bytes + size, poison, up(size, alignment) - size);
  arena.blocks[data] = {size, pages};
  return bytes;
}

static bool overrun(uintptr_t data, const Block& block) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(data);
  for (size_t k = block.size; k < up(block.size, alignment); ++k)
    if (bytes[k] != poison) return true;
  return false;
}

static bool give(int device, uintptr_t data) {
  Arena& arena = arenas[device];
  auto found = arena.blocks.find(data);
  if (found == arena.blocks.end()) return false;
  const Block block = found->second;
  if (overrun(data, block)) {
    state.sticky = cudaErrorIllegalAddress;
    state.fault = "written behind the end of " + std::to_string(block.size) + " bytes";
  }
  void* start = reinterpret_cast<void*>(data + up(block.size, alignment) - block.pages);
  mmap(start, block.pages, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  state.used[device] -= block.pages;
  arena.blocks.erase(found);
  return true;
}

static int device_of(uintptr_t place) {
  for (int device = 0; device < most_devices; ++device)
    if (arenas[device].start && place - arenas[device].start < range) return device;
  return -1;
}

bool on_device(const void* place) {
  return device_of(reinterpret_cast<uintptr_t>(place)) >= 0;
}

static bool contains(const std::map<uintptr_t, size_t>& ranges, const void* place) {
  const auto address = reinterpret_cast<uintptr_t>(place);
  auto found = ranges.upper_bound(address);
  if (found == ranges.begin()) return false;
  --found;
  return address - found->first < found->second;
}

static bool is_live(const void* place, size_t size) {
  const auto address = reinterpret_cast<uintptr_t>(place);
  const auto& blocks = arenas[device_of(address)].blocks;
  auto found = blocks.upper_bound(address);
  if (found == blocks.begin()) return false;
  --found;
  return address + size <= found->first + found->second.size;
}

std::string describe_place(uintptr_t place) {
  char text[160];
  const int device = device_of(place);
  if (device < 0) {
    snprintf(text, sizeof text, "an access to %#zx, which is not on the device", place);
    return text;
  }
  const auto& blocks = arenas[device].blocks;
  auto next = blocks.upper_bound(place);
  if (next != blocks.begin()) {
    auto block = std::prev(next);
    const size_t behind = place - block->first - block->second.size;
    if (behind < page) {
      snprintf(text, sizeof text, "an access %zu bytes behind the end of %zu bytes", behind,
               block->second.size);
      return text;
    }
  }
  snprintf(text, sizeof text, "an access to %#zx, which is freed or was never allocated",
           place);
  return text;
}

enum class Side { pageable, pinned, device };

static Side side_of(const void* place) {
  if (on_device(place)) return Side::device;
  return contains(pinned, place) ? Side::pinned : Side::pageable;
}

static bool agrees(cudaMemcpyKind kind, Side from, Side to) {
  const bool from_device = from == Side::device, to_device = to == Side::device;
  switch (kind) {
    case cudaMemcpyHostToDevice: return !from_device && to_device;
    case cudaMemcpyDeviceToHost: return from_device && !to_device;
    case cudaMemcpyDeviceToDevice: return from_device && to_device;
    case cudaMemcpyHostToHost: return !from_device && !to_device;
    default: return true;
  }
}

static std::string copy_name(Side from, Side to, size_t size) {
  const bool from_device = from == Side::device, to_device = to == Side::device;
  const char* way = !from_device && to_device ? "to device"
                    : from_device && !to_device ? "to host" : from_device ? "on device" : "on host";
  ++state.counts[std::string("copies ") + way];
  state.counts[std::string("bytes ") + way] += static_cast<long>(size);
  return std::string("copy ") + way;
}

static cudaError_t copy(void* to, const void* from, size_t size, cudaMemcpyKind kind,
                        Stream* stream, bool wait) {
  if (!size) return cudaSuccess;
  if (!stream) return fail(cudaErrorInvalidResourceHandle);
  const Side source = side_of(from), target = side_of(to);
  if (!agrees(kind, source, target)) return fail(cudaErrorInvalidValue);
  if (source == Side::device && !is_live(from, size)) return fail(cudaErrorInvalidValue);
  if (target == Side::device && !is_live(to, size)) return fail(cudaErrorInvalidValue);
  const bool pageable = source == Side::pageable || target == Side::pageable;
  if (stream->graph && (pageable || wait)) {
    stream->broken = true;
    return fail(cudaErrorStreamCaptureUnsupported);
  }
  const std::string name = copy_name(source, target, size);
  Work work = [=] { std::memmove(to, from, size); };
  if (source == Side::pageable) {  // read now, as its owner may change it
    const auto* bytes = static_cast<const char*>(from);
    auto staged = std::make_shared<std::vector<char>>(bytes, bytes + size);
    work = [=] { std::memcpy(to, staged->data(), size); };
  }
  TaskPointer task;
  if (auto error = enqueue(stream, name, guarded(name, work), &task)) return error;
  if (task && (wait || (source == Side::device && target == Side::pageable))) {
    ++state.counts["waits"];
    finish(task);
  }
  return state.sticky ? static_cast<cudaError_t>(state.sticky) : cudaSuccess;
}

}  // namespace sim

using namespace sim;

API cudaError_t cudaMalloc(void** place, size_t size) {
  CALL(cudaMalloc);
  *place = nullptr;
  if (any_capture(false)) {
    break_captures();
    return fail(cudaErrorStreamCaptureUnsupported);
  }
  if (!size) return cudaSuccess;
  *place = take(current_device, size);
  return *place ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

API cudaError_t cudaFree(void* place) {
  CALL(cudaFree);
  if (!place) return cudaSuccess;
  const int device = device_of(reinterpret_cast<uintptr_t>(place));
  if (device < 0) return fail(cudaErrorInvalidValue);
  if (!any_capture(true)) finish_device(device);
  return give(device, reinterpret_cast<uintptr_t>(place)) ? cudaSuccess
                                                          : fail(cudaErrorInvalidValue);
}

API cudaError_t cudaHostAlloc(void** place, size_t size, unsigned) {
  CALL(cudaHostAlloc);
  *place = mmap(nullptr, up(size, page), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (*place == MAP_FAILED) return fail(cudaErrorMemoryAllocation);
  pinned[reinterpret_cast<uintptr_t>(*place)] = size;
  return cudaSuccess;
}

API cudaError_t cudaFreeHost(void* place) {
  CALL(cudaFreeHost);
  auto found = pinned.find(reinterpret_cast<uintptr_t>(place));
  if (found == pinned.end()) return fail(cudaErrorInvalidValue);
  for (int device = 0; device < most_devices; ++device) finish_device(device);
  munmap(place, up(found->second, page));
  pinned.erase(found);
  return cudaSuccess;
}

API cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  CALL(cudaMemGetInfo);
  *total = state.capacity;
  *available = left(current_device);
  return cudaSuccess;
}

API cudaError_t cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind kind) {
  CALL(cudaMemcpy);
  return copy(to, from, size, kind, find_stream(nullptr), true);
}

API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind,
                                cudaStream_t stream) {
  CALL(cudaMemcpyAsync);
  return copy(to, from, size, kind, find_stream(stream), false);
}

API cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, size_t size) {
  CALL(cudaMemcpyPeer);
  return copy(to, from, size, cudaMemcpyDefault, find_stream(nullptr), true);
}

API cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t size,
                                    cudaStream_t stream) {
  CALL(cudaMemcpyPeerAsync);
  return copy(to, from, size, cudaMemcpyDefault, find_stream(stream), false);
}

API cudaError_t cudaMemsetAsync(void* place, int value, size_t size, cudaStream_t stream) {
  CALL(cudaMemsetAsync);
  if (!size) return cudaSuccess;
  if (!on_device(place) || !is_live(place, size)) return fail(cudaErrorInvalidValue);
  return enqueue(find_stream(stream), "memset",
                 guarded("memset", [=] { std::memset(place, value, size); }));
}

API cudaError_t cudaMemset(void* place, int value, size_t size) {
  CALL(cudaMemset);
  return cudaMemsetAsync(place, value, size, nullptr);
}

API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* place) {
  CALL(cudaPointerGetAttributes);
  *found = {};
  const int device = device_of(reinterpret_cast<uintptr_t>(place));
  if (device >= 0 && is_live(place, 1)) {
    found->type = cudaMemoryTypeDevice;
    found->device = device;
    found->devicePointer = const_cast<void*>(place);
  } else if (contains(pinned, place)) {
    found->type = cudaMemoryTypeHost;
    found->device = current_device;
    found->hostPointer = found->devicePointer = const_cast<void*>(place);
  } else {
    found->type = cudaMemoryTypeUnregistered;
    found->device = cudaInvalidDeviceId;
    found->hostPointer = const_cast<void*>(place);
  }
  return cudaSuccess;
}
