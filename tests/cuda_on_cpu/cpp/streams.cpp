// Streams, events, and what streams capture.
#include <algorithm>
#include <chrono>

#include "device.hpp"

using namespace sim;

// Waiting is not allowed while the stream, or any in a strict mode, captures.
static cudaError_t refuse_wait(Stream* stream) {
  if (!stream->graph) return cudaSuccess;
  stream->broken = true;
  return fail(cudaErrorStreamCaptureUnsupported);
}

static cudaError_t after_wait() {
  ++state.counts["waits"];
  return static_cast<cudaError_t>(state.sticky);
}

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* made, unsigned flags, int) {
  CALL(cudaStreamCreateWithPriority);
  auto* stream = new Stream;
  stream->blocking = !(flags & cudaStreamNonBlocking);
  stream->device = current_device;
  state.streams.insert(stream);
  *made = reinterpret_cast<cudaStream_t>(stream);
  return cudaSuccess;
}

API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* made, unsigned flags) {
  CALL(cudaStreamCreateWithFlags);
  return cudaStreamCreateWithPriority(made, flags, 0);
}

API cudaError_t cudaStreamCreate(cudaStream_t* made) {
  CALL(cudaStreamCreate);
  return cudaStreamCreateWithPriority(made, 0, 0);
}

API cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  CALL(cudaStreamDestroy);
  Stream* stream = find_stream(handle);
  if (!stream || !state.streams.erase(stream)) return fail(cudaErrorInvalidResourceHandle);
  if (stream->last && !stream->last->done) state.orphans.push_back(stream->last);
  delete stream;
  return cudaSuccess;
}

API cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  CALL(cudaStreamGetFlags);
  Stream* stream = find_stream(handle);
  if (!stream) return fail(cudaErrorInvalidResourceHandle);
  *flags = stream->blocking ? cudaStreamDefault : cudaStreamNonBlocking;
  return cudaSuccess;
}

API cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
  CALL(cudaStreamGetPriority);
  *priority = 0;
  return cudaSuccess;
}

API cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  CALL(cudaStreamSynchronize);
  Stream* stream = find_stream(handle);
  if (!stream) return fail(cudaErrorInvalidResourceHandle);
  if (auto error = refuse_wait(stream)) return error;
  finish_stream(stream);
  return after_wait();
}

API cudaError_t cudaDeviceSynchronize() {
  CALL(cudaDeviceSynchronize);
  if (any_capture(true)) {
    break_captures();
    return fail(cudaErrorStreamCaptureUnsupported);
  }
  finish_device(current_device);
  return after_wait();
}

API cudaError_t cudaStreamQuery(cudaStream_t handle) {
  CALL(cudaStreamQuery);
  Stream* stream = find_stream(handle);
  if (!stream) return fail(cudaErrorInvalidResourceHandle);
  if (auto error = refuse_wait(stream)) return error;
  return stream->last && !stream->last->done ? cudaErrorNotReady : cudaSuccess;
}

API cudaError_t cudaStreamAddCallback(cudaStream_t handle, cudaStreamCallback_t function,
                                      void* data, unsigned) {
  CALL(cudaStreamAddCallback);
  return enqueue(find_stream(handle), "callback",
                 [=] { function(handle, cudaSuccess, data); });
}

API cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  CALL(cudaLaunchHostFunc);
  return enqueue(find_stream(handle), "host function", [=] { function(data); });
}

// ------------------------------------------------------------------ events
static Event* event_of(cudaEvent_t handle) { return reinterpret_cast<Event*>(handle); }

static double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(time).count();
}

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* made, unsigned flags) {
  CALL(cudaEventCreateWithFlags);
  auto* event = new Event;
  event->device = current_device;
  event->timed = !(flags & cudaEventDisableTiming);
  *made = reinterpret_cast<cudaEvent_t>(event);
  return cudaSuccess;
}

API cudaError_t cudaEventCreate(cudaEvent_t* made) {
  CALL(cudaEventCreate);
  return cudaEventCreateWithFlags(made, 0);
}

API cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  CALL(cudaEventDestroy);
  delete event_of(handle);
  return cudaSuccess;
}

API cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
  CALL(cudaEventRecord);
  Event* event = event_of(handle);
  Stream* stream = find_stream(stream_handle);
  if (!stream || stream->device != event->device) return fail(cudaErrorInvalidResourceHandle);
  event->recorded = true;
  event->captured = stream->graph != nullptr;
  event->task = nullptr;
  event->recorder = std::this_thread::get_id(), event->asked = 0;
  if (event->captured) return cudaSuccess;  // no node of its own
  auto time = event->time = std::make_shared<double>(0);
  return enqueue(stream, "event", [time] { *time = now(); }, &event->task);
}

// Work goes on by itself: a thread that asks often enough for its event finds it done.
API cudaError_t cudaEventQuery(cudaEvent_t handle) {
  CALL(cudaEventQuery);
  Event* event = event_of(handle);
  if (event->captured) return fail(cudaErrorCapturedEvent);
  const bool own = event->recorder == std::this_thread::get_id();
  if (event->task && own && ++event->asked > 100) finish(event->task);
  return event->task && !event->task->done ? cudaErrorNotReady : cudaSuccess;
}

API cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  CALL(cudaEventSynchronize);
  const Event* event = event_of(handle);
  if (event->captured) return fail(cudaErrorCapturedEvent);
  if (event->task) finish(event->task);
  return after_wait();
}

API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  CALL(cudaEventElapsedTime);
  const Event *first = event_of(start), *last = event_of(end);
  for (const Event* event : {first, last}) {
    if (!event->timed || !event->task) return fail(cudaErrorInvalidResourceHandle);
    if (!event->task->done) return fail(cudaErrorNotReady);
  }
  *milliseconds = static_cast<float>(*last->time - *first->time);
  return cudaSuccess;
}

API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned) {
  CALL(cudaStreamWaitEvent);
  Stream* stream = find_stream(handle);
  const Event* event = event_of(event_handle);
  if (!stream) return fail(cudaErrorInvalidResourceHandle);
  if (!event->recorded) return cudaSuccess;
  if (event->captured && stream->graph) return cudaSuccess;  // one stream captures: in order
  if (event->captured || stream->graph) {
    break_captures();
    return fail(cudaErrorStreamCaptureIsolation);
  }
  return enqueue(stream, "wait", nullptr, nullptr, event->task);
}

// ------------------------------------------------------------------ graphs
static std::shared_ptr<Graph>* graph_of(void* handle) {
  return static_cast<std::shared_ptr<Graph>*>(handle);
}

API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  CALL(cudaStreamBeginCapture);
  Stream* stream = find_stream(handle);
  if (!stream) return fail(cudaErrorInvalidResourceHandle);
  if (!state.streams.count(stream) || stream->graph || any_capture(true))
    return fail(cudaErrorStreamCaptureUnsupported);  // several at once are not modelled
  stream->graph = std::make_shared<Graph>();
  stream->broken = false;
  stream->mode = mode;
  return cudaSuccess;
}

API cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* made) {
  CALL(cudaStreamEndCapture);
  Stream* stream = find_stream(handle);
  *made = nullptr;
  if (!stream || !stream->graph) return fail(cudaErrorIllegalState);
  auto graph = std::move(stream->graph);
  stream->graph = nullptr;
  if (stream->broken) return fail(cudaErrorStreamCaptureInvalidated);
  state.last_graph = graph;
  *made = reinterpret_cast<cudaGraph_t>(new std::shared_ptr<Graph>(graph));
  return cudaSuccess;
}

API cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  CALL(cudaStreamIsCapturing);
  Stream* stream = find_stream(handle);
  if (!stream) return fail(cudaErrorInvalidResourceHandle);
  if (!state.streams.count(stream))
    for (Stream* other : state.streams)
      if (other->blocking && other->graph) {
        other->broken = true;
        return fail(cudaErrorStreamCaptureImplicit);
      }
  *status = !stream->graph   ? cudaStreamCaptureStatusNone
            : stream->broken ? cudaStreamCaptureStatusInvalidated
                             : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph,
                                     unsigned long long) {
  CALL(cudaGraphInstantiate);
  *made = reinterpret_cast<cudaGraphExec_t>(new std::shared_ptr<Graph>(*graph_of(graph)));
  return cudaSuccess;
}

API cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
  CALL(cudaGraphLaunch);
  auto graph = *graph_of(handle);
  return enqueue(find_stream(stream), "graph", [graph] {
    for (const auto& node : graph->nodes)
      if (!state.sticky) node.work();
  });
}

API cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  CALL(cudaGraphUpload);
  return cudaSuccess;
}

API cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  CALL(cudaGraphDestroy);
  delete graph_of(handle);
  return cudaSuccess;
}

API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  CALL(cudaGraphExecDestroy);
  delete graph_of(handle);
  return cudaSuccess;
}
