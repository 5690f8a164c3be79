// A device that runs on the CPU: what the parts of its runtime share.
#pragma once
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace sim __attribute__((visibility("default"))) {

using Work = std::function<void()>;

// A piece of work in a stream, and what must be done before it.
struct Task {
  Work work;
  std::vector<std::shared_ptr<Task>> before;
  bool done = false;
};
using TaskPointer = std::shared_ptr<Task>;

struct Node {
  std::string name;
  Work work;
};
struct Graph {
  std::vector<Node> nodes;
};

struct Stream {
  int device = 0;
  bool blocking = true;  // waits for the default stream, which waits for it
  TaskPointer last;
  std::shared_ptr<Graph> graph;  // while it captures
  bool broken = false;           // the capture is
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
};

struct Event {
  int device = 0;
  bool timed = true, recorded = false, captured = false;
  TaskPointer task;
  std::shared_ptr<double> time;  // in milliseconds, written by the task
  std::thread::id recorder;
  int asked = 0;  // by that thread, since it was recorded
};

enum class Schedule { eager, lazy, random };

constexpr int most_devices = 8;

// All that the runtime knows. The lock of `Call` guards it.
struct State {
  std::recursive_mutex lock;
  int devices = 0, most_shown = 0;
  bool peers = true;  // whether a device may reach the memory of another
  size_t capacity = size_t{16} << 30;
  size_t elsewhere = 0;     // taken by others
  bool spills = false;      // allocations go on where memory ends
  size_t used[most_devices] = {};
  Schedule schedule = Schedule::eager;
  Stream null_streams[most_devices];
  std::set<Stream*> streams;
  std::vector<TaskPointer> orphans;  // of streams destroyed before their work was done
  int sticky = 0;                    // the error that a kernel left behind
  std::string fault;                 // what it was, in words
  std::map<std::string, long> counts;
  std::vector<std::string> launched;   // names of kernels
  std::shared_ptr<Graph> last_graph;   // captured
};
extern State state;
extern thread_local int current_device;
extern thread_local cudaError_t last_error;

// Holds the lock during a call of the API, counts the call, and says whether it fails.
struct Call {
  explicit Call(const char* name);
  template <class Result>
  operator Result() const {  // NOLINT: converts to each API's own type of error
    return static_cast<Result>(error);
  }
  std::lock_guard<std::recursive_mutex> hold;
  int error = 0;
};
#define CALL(name)     \
  sim::Call call(#name); \
  if (call.error) return call

cudaError_t fail(cudaError_t error);

// Schedule.
Stream* find_stream(const void* handle);  // null where there is none
cudaError_t enqueue(Stream* stream, std::string name, Work work, TaskPointer* made = nullptr,
                    const TaskPointer& other = nullptr);  // which it waits for as well
Work guarded(std::string name, Work work);  // turns faults into errors of the device
void finish(const TaskPointer& task);
void finish_stream(Stream* stream);
void finish_device(int device);
bool any_capture(bool relaxed_too);
void break_captures();
void set_schedule(Schedule schedule, unsigned seed);
bool coin();  // heads or tails in a random schedule, else tails

// Memory.
bool on_device(const void* place);
std::string describe_place(uintptr_t place);

// Launches.
struct Grid {
  unsigned grid[3], block[3];
};
bool fails_by_plan(const std::string& name, int* code);

}  // namespace sim
