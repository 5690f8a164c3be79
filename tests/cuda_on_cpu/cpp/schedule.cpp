// When work is done: at once, as late as CUDA's rules allow, or at random in between.
#include <csetjmp>
#include <csignal>
#include <random>

#include "device.hpp"

namespace sim {

static std::mt19937 generator;

void set_schedule(Schedule schedule, unsigned seed) {
  for (int device = 0; device < most_devices; ++device) finish_device(device);
  state.schedule = schedule;
  generator.seed(seed);
}

bool coin() { return state.schedule == Schedule::random && generator() % 2; }

Stream* find_stream(const void* handle) {
  if (!handle || handle == cudaStreamLegacy) return &state.null_streams[current_device];
  auto* stream = static_cast<Stream*>(const_cast<void*>(handle));
  return state.streams.count(stream) ? stream : nullptr;
}

static bool is_null(const Stream* stream) {
  return stream >= state.null_streams && stream < state.null_streams + most_devices;
}

static void wait_for(Task& task, const TaskPointer& other) {
  if (other && !other->done) task.before.push_back(other);
}

static TaskPointer append(Stream* stream, Work work) {
  auto task = std::make_shared<Task>();
  task->work = std::move(work);
  wait_for(*task, stream->last);
  Stream& null_stream = state.null_streams[stream->device];
  if (is_null(stream)) {
    for (Stream* other : state.streams)
      if (other->blocking && other->device == stream->device) wait_for(*task, other->last);
  } else if (stream->blocking) {
    wait_for(*task, null_stream.last);
  }
  stream->last = task;
  return task;
}

// Work of the default stream breaks the captures of streams that wait for it.
static bool breaks_a_capture(const Stream* stream) {
  bool found = false;
  if (is_null(stream))
    for (Stream* other : state.streams)
      if (other->blocking && other->graph) found = other->broken = true;
  return found;
}

cudaError_t enqueue(Stream* stream, std::string name, Work work, TaskPointer* made,
                    const TaskPointer& other) {
  if (!stream) return fail(cudaErrorInvalidResourceHandle);
  if (stream->graph) {
    if (stream->broken) return fail(cudaErrorStreamCaptureInvalidated);
    stream->graph->nodes.push_back({std::move(name), std::move(work)});
    return cudaSuccess;
  }
  if (breaks_a_capture(stream)) return fail(cudaErrorStreamCaptureImplicit);
  TaskPointer task = append(stream, std::move(work));
  wait_for(*task, other);
  if (made) *made = task;
  if (state.schedule == Schedule::eager || coin()) finish(task);
  return cudaSuccess;
}

void finish(const TaskPointer& last) {
  std::vector<TaskPointer> stack{last};
  while (!stack.empty()) {
    TaskPointer task = stack.back();
    if (task->done) {
      stack.pop_back();
      continue;
    }
    bool ready = true;
    for (const auto& other : task->before)
      if (!other->done) {
        stack.push_back(other);
        ready = false;
      }
    if (!ready) continue;
    stack.pop_back();
    task->done = true;
    if (task->work && !state.sticky) task->work();
    task->work = nullptr;
    task->before.clear();
  }
}

void finish_stream(Stream* stream) {
  if (is_null(stream))
    for (Stream* other : state.streams)
      if (other->blocking && other->device == stream->device && other->last)
        finish(other->last);
  if (stream->last) finish(stream->last);
}

void finish_device(int device) {
  for (const auto& task : state.orphans) finish(task);
  state.orphans.clear();
  std::vector<Stream*> streams{&state.null_streams[device]};
  for (Stream* stream : state.streams)
    if (stream->device == device) streams.push_back(stream);
  while (!streams.empty()) {  // in any order: they may wait for each other
    const size_t k = state.schedule == Schedule::random ? generator() % streams.size() : 0;
    if (streams[k]->last) finish(streams[k]->last);
    streams.erase(streams.begin() + static_cast<std::ptrdiff_t>(k));
  }
}

bool any_capture(bool relaxed_too) {
  for (const Stream* stream : state.streams)
    if (stream->graph && (relaxed_too || stream->mode != cudaStreamCaptureModeRelaxed))
      return true;
  return false;
}

void break_captures() {
  for (Stream* stream : state.streams)
    if (stream->graph) stream->broken = true;
}

// ------------------------------------------------------------------ faults
static thread_local sigjmp_buf* landing = nullptr;
static thread_local uintptr_t fault_place = 0;
constexpr int signals[] = {SIGSEGV, SIGBUS, SIGILL};

static void on_fault(int signal, siginfo_t* info, void*) {
  if (!landing) {  // another thread's, not of the device's work
    std::signal(signal, SIG_DFL);
    raise(signal);
    return;
  }
  fault_place = reinterpret_cast<uintptr_t>(info->si_addr);
  siglongjmp(*landing, signal);
}

static void note_fault(const std::string& name, int signal) {
  if (signal == SIGILL) {  // a trap of the sanitizer
    state.sticky = cudaErrorMisalignedAddress;
    state.fault = name + ": an address that is not aligned, or undefined behaviour";
  } else {
    state.sticky = cudaErrorIllegalAddress;
    state.fault = name + ": " + describe_place(fault_place);
  }
}

Work guarded(std::string name, Work work) {
  return [name = std::move(name), work = std::move(work)] {
    struct sigaction action = {}, before[3];
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (int k = 0; k < 3; ++k) sigaction(signals[k], &action, &before[k]);
    sigjmp_buf here;
    landing = &here;
    const int signal = sigsetjmp(here, 1);
    if (!signal) work();
    landing = nullptr;
    for (int k = 0; k < 3; ++k) sigaction(signals[k], &before[k], nullptr);
    int code;
    if (signal) note_fault(name, signal);
    else if (fails_by_plan("run " + name, &code)) {
      state.sticky = code;
      state.fault = name + ": an error made to order";
    }
  };
}

}  // namespace sim
