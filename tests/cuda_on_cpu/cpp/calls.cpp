// What every call of the API goes through: counts, and errors made to order.
#include "device.hpp"

namespace sim {

State state;
thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

struct Plan {
  int code, after;
};
static std::map<std::string, Plan> plans;

// Calls that give something back: they work behind an error, so that objects can die.
static bool gives_back(const std::string& name) {
  for (const char* word : {"Free", "Destroy", "Unload", "Unregister", "GetError", "Version"})
    if (name.find(word) != std::string::npos) return true;
  return false;
}

bool fails_by_plan(const std::string& name, int* code) {
  auto plan = plans.find(name);
  if (plan == plans.end() || plan->second.after-- > 0) return false;
  *code = plan->second.code;
  plans.erase(plan);
  return true;
}

Call::Call(const char* name) : hold(state.lock) {
  ++state.counts[name];
  if (fails_by_plan(name, &error)) {
    last_error = static_cast<cudaError_t>(error);
    return;
  }
  if (state.sticky && !gives_back(name)) error = state.sticky;
}

cudaError_t fail(cudaError_t error) { return last_error = error; }

}  // namespace sim

using sim::state;

// ------------------------------------------------- what the tests ask and set
API int sim_enter(const char* name) { return sim::Call(name).error; }

API int sim_unsupported(const char* name) {
  sim::Call call(name);
  state.fault = std::string(name) + " is not supported by CUDA on the CPU";
  return sim::fail(cudaErrorNotSupported);
}

API void sim_fail(const char* name, int code, int after) {
  sim::Call call("sim_fail");
  sim::plans[name] = {code, after};
}

API void sim_set_devices(int count) {
  std::lock_guard<std::recursive_mutex> hold(state.lock);
  state.devices = count;
  if (count > state.most_shown) state.most_shown = count;
}

API void sim_set_peers(int allowed) { state.peers = allowed != 0; }

API void sim_set_capacity(size_t bytes) { state.capacity = bytes; }

API void sim_take_elsewhere(size_t bytes) { state.elsewhere = bytes; }

API void sim_spill(int allowed) { state.spills = allowed != 0; }

API size_t sim_used(int device) { return state.used[device]; }

API void sim_set_schedule(const char* name, unsigned seed) {
  std::lock_guard<std::recursive_mutex> hold(state.lock);
  const std::string wanted = name;
  sim::set_schedule(wanted == "lazy"     ? sim::Schedule::lazy
                    : wanted == "random" ? sim::Schedule::random
                                         : sim::Schedule::eager,
                    seed);
}

API long sim_count(const char* name) {
  std::lock_guard<std::recursive_mutex> hold(state.lock);
  auto found = state.counts.find(name);
  return found == state.counts.end() ? 0 : found->second;
}

static const char* joined(const std::vector<std::string>& lines) {
  static thread_local std::string text;
  text.clear();
  for (const auto& line : lines) text += line + "\n";
  return text.c_str();
}

API const char* sim_launched() {
  std::lock_guard<std::recursive_mutex> hold(state.lock);
  return joined(state.launched);
}

API const char* sim_nodes() {  // of the graph captured last
  std::lock_guard<std::recursive_mutex> hold(state.lock);
  std::vector<std::string> names;
  if (state.last_graph)
    for (const auto& node : state.last_graph->nodes) names.push_back(node.name);
  return joined(names);
}

API void sim_forget() {  // counts and names
  std::lock_guard<std::recursive_mutex> hold(state.lock);
  state.counts.clear();
  state.launched.clear();
}

API const char* sim_fault() {
  std::lock_guard<std::recursive_mutex> hold(state.lock);
  return state.fault.c_str();
}

API int sim_capturing() { return sim::any_capture(true); }

// Finish all work and return the error that the device was left with; then forget it.
API int sim_recover() {
  std::lock_guard<std::recursive_mutex> hold(state.lock);
  for (int device = 0; device < sim::most_devices; ++device) sim::finish_device(device);
  const int error = state.sticky;
  state.sticky = 0;
  sim::plans.clear();
  sim::last_error = cudaSuccess;
  return error;
}

API void sim_clear_fault() { state.fault.clear(); }
