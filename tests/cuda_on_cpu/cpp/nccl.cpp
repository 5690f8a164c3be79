// NCCL in one folder, made in the current one: a message is a file, which the receiver removes.
//
// As on a GPU, work waits in its stream for the other ranks, and the call returns before
// (under the eager schedule, after). What a group holds is done at once, in any order;
// what stands alone waits for the other rank, so that a send before a receive on both
// sides never ends.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "device.hpp"

API int sim_enter(const char* name);

namespace {

constexpr int success = 0, cuda_error = 1, system_error = 2, invalid_argument = 4, invalid_usage = 5;
constexpr int float32 = 7, float64 = 8, add = 0;
constexpr size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};  // of NCCL's types

struct Id {
  char folder[128];
};

struct Comm {
  std::string folder;
  int rank, size;
  std::atomic<bool> aborted{false};
  std::map<int, long> sent, received;  // by the other rank

  std::string message(int source, int target, long number) const {
    return folder + "/" + std::to_string(source) + "-" + std::to_string(target) + "-" + std::to_string(number);
  }
};

struct Move {
  Comm* comm;
  std::string name;
  char* place;
  size_t bytes;
};

struct Group {
  int depth = 0;
  std::vector<Move> sends, receives;
  std::vector<sim::Work> after;
  void* stream = nullptr;
};
thread_local Group group;

#define ENTER(name) \
  if (const int status_ = sim_enter(#name)) return status_

// Wait for files to come or to go. Other threads may call the runtime meanwhile.
template <class Condition>
bool await(const Comm* comm, Condition met) {
  while (!met()) {
    if (comm->aborted) return false;
    sim::state.lock.unlock();
    usleep(200);
    sim::state.lock.lock();
  }
  return true;
}

void send(const Move& move) {
  const std::string unfinished = move.name + ".unfinished";
  std::ofstream(unfinished, std::ios::binary).write(move.place, static_cast<std::streamsize>(move.bytes));
  std::filesystem::rename(unfinished, move.name);
}

void receive(const Move& move) {
  if (!await(move.comm, [&] { return std::filesystem::exists(move.name); })) return;
  const size_t got = std::filesystem::file_size(move.name);
  if (got != move.bytes) {
    sim::state.sticky = cudaErrorUnknown;
    sim::state.fault = "ncclRecv of " + std::to_string(move.bytes) + " bytes got " + std::to_string(got);
  } else {
    std::ifstream(move.name, std::ios::binary).read(move.place, static_cast<std::streamsize>(got));
  }
  std::filesystem::remove(move.name);
}

int run(Group work) {
  if (work.sends.empty() && work.receives.empty() && work.after.empty()) return success;
  sim::Call call("nccl");
  sim::Stream* stream = sim::find_stream(work.stream);
  if (!stream) return invalid_argument;
  const auto moves = [work] {
    for (const Move& move : work.sends) send(move);
    for (const Move& move : work.receives) receive(move);
    for (const Move& move : work.sends)
      await(move.comm, [&] { return !std::filesystem::exists(move.name); });
    for (const sim::Work& step : work.after) step();
  };
  return sim::enqueue(stream, "nccl", sim::guarded("nccl", moves)) ? cuda_error : success;
}

// Add to the group, or be one.
int submit(void* stream, const std::function<void()>& record) {
  if (group.depth && group.stream && group.stream != stream) return invalid_usage;
  group.stream = stream;
  record();
  if (group.depth) return success;
  return run(std::exchange(group, {}));
}

void add_send(Comm* comm, const void* place, size_t bytes, int peer) {
  auto* bytes_of = static_cast<char*>(const_cast<void*>(place));
  group.sends.push_back({comm, comm->message(comm->rank, peer, comm->sent[peer]++), bytes_of, bytes});
}

void add_receive(Comm* comm, void* place, size_t bytes, int peer) {
  const auto name = comm->message(peer, comm->rank, comm->received[peer]++);
  group.receives.push_back({comm, name, static_cast<char*>(place), bytes});
}

template <class T>
void add_up(const Comm* comm, const std::vector<std::vector<char>>& parts, void* result, size_t count) {
  T* total = static_cast<T*>(result);
  const std::vector<T> own(total, total + count);
  for (size_t k = 0; k < count; ++k) {
    T sum = 0;
    for (int rank = 0; rank < comm->size; ++rank)
      sum += rank == comm->rank ? own[k] : reinterpret_cast<const T*>(parts[rank].data())[k];
    total[k] = sum;
  }
}

}  // namespace

API const char* ncclGetErrorString(int status) {
  const char* names[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error",
                         "invalid argument", "invalid usage", "remote process exited"};
  return names[status];
}

API int ncclGetVersion(int* version) {
  *version = 22707;
  return success;
}

API int ncclGetUniqueId(Id* id) {
  ENTER(ncclGetUniqueId);
  char here[100] = "";
  if (!getcwd(here, sizeof here)) return system_error;
  snprintf(id->folder, sizeof id->folder, "%s/nccl-XXXXXX", here);
  return mkdtemp(id->folder) ? success : system_error;
}

// Waits for the other ranks, as NCCL does.
API int ncclCommInitRankConfig(Comm** made, int size, Id id, int rank, void*) {
  ENTER(ncclCommInitRankConfig);
  if (rank < 0 || rank >= size) return invalid_argument;
  auto* comm = new Comm;
  comm->folder = id.folder, comm->rank = rank, comm->size = size;
  std::ofstream(comm->folder + "/" + std::to_string(rank));
  std::lock_guard<std::recursive_mutex> hold(sim::state.lock);
  for (int other = 0; other < size; ++other)
    await(comm, [&] { return std::filesystem::exists(comm->folder + "/" + std::to_string(other)); });
  *made = comm;
  return success;
}

// The last rank removes the folder.
API int ncclCommDestroy(Comm* comm) {
  std::error_code ignored;
  std::filesystem::remove(comm->folder + "/" + std::to_string(comm->rank), ignored);
  std::filesystem::remove(comm->folder, ignored);
  return success;
}

API int ncclCommAbort(Comm* comm) {
  comm->aborted = true;
  return success;
}

API int ncclCommGetAsyncError(Comm*, int* status) { return *status = success; }

API int ncclGroupStart() {
  ENTER(ncclGroupStart);
  ++group.depth;
  return success;
}

API int ncclGroupEnd() {
  ENTER(ncclGroupEnd);
  if (!group.depth) return invalid_usage;
  return --group.depth ? success : run(std::exchange(group, {}));
}

API int ncclSend(const void* place, size_t count, int type, int peer, Comm* comm, void* stream) {
  ENTER(ncclSend);
  if (peer == comm->rank) return invalid_argument;
  return submit(stream, [=] { add_send(comm, place, count * sizes[type], peer); });
}

API int ncclRecv(void* place, size_t count, int type, int peer, Comm* comm, void* stream) {
  ENTER(ncclRecv);
  if (peer == comm->rank) return invalid_argument;
  return submit(stream, [=] { add_receive(comm, place, count * sizes[type], peer); });
}

API int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Comm* comm, void* stream) {
  ENTER(ncclBroadcast);
  if (from != to) return invalid_argument;  // not needed so far
  return submit(stream, [=] {
    for (int rank = 0; rank < comm->size; ++rank)
      if (comm->rank == root && rank != root) add_send(comm, from, count * sizes[type], rank);
    if (comm->rank != root) add_receive(comm, to, count * sizes[type], root);
  });
}

API int ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, Comm* comm, void* stream) {
  ENTER(ncclAllReduce);
  if (from != to || operation != add || (type != float32 && type != float64)) return invalid_argument;
  auto parts = std::make_shared<std::vector<std::vector<char>>>(comm->size, std::vector<char>(count * sizes[type]));
  return submit(stream, [=] {
    for (int rank = 0; rank < comm->size; ++rank) {
      if (rank == comm->rank) continue;
      add_send(comm, from, count * sizes[type], rank);
      add_receive(comm, (*parts)[rank].data(), count * sizes[type], rank);
    }
    group.after.push_back([=] {
      if (type == float32) add_up<float>(comm, *parts, to, count);
      else add_up<double>(comm, *parts, to, count);
    });
  });
}
