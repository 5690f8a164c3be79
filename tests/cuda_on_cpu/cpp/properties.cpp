// What devices say about themselves, and the names of errors.
#include <cstdio>
#include <cstring>

#include "device.hpp"

using namespace sim;

struct ErrorName {
  int code;
  const char* name;
};
static const ErrorName runtime_errors[] = {
#include "runtime_errors.inc"
};
static const ErrorName driver_errors[] = {
#include "driver_errors.inc"
};

template <size_t count>
static const char* name_of(const ErrorName (&errors)[count], int code) {
  for (const auto& error : errors)
    if (error.code == code) return error.name;
  return "unrecognized error code";
}

static const char* describe(int code) {
  static thread_local std::string text;
  if (code == cudaErrorMemoryAllocation) return "out of memory";
  if (code == cudaErrorNoDevice) return "no CUDA-capable device is detected";
  text = state.fault.empty() ? "an error of CUDA on the CPU" : state.fault;
  return text.c_str();
}

API const char* cudaGetErrorName(cudaError_t error) { return name_of(runtime_errors, error); }
API const char* cudaGetErrorString(cudaError_t error) { return describe(error); }

API CUresult cuGetErrorName(CUresult error, const char** name) {
  *name = name_of(driver_errors, error);
  return CUDA_SUCCESS;
}

API CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = describe(error);
  return CUDA_SUCCESS;
}

API cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

API cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return cudaSuccess;
}

API cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

API cudaError_t cudaGetDeviceCount(int* count) {
  CALL(cudaGetDeviceCount);
  *count = state.devices;
  return state.devices ? cudaSuccess : fail(cudaErrorNoDevice);
}

API cudaError_t cudaGetDevice(int* device) {
  CALL(cudaGetDevice);
  *device = current_device;
  return cudaSuccess;
}

API cudaError_t cudaSetDevice(int device) {
  CALL(cudaSetDevice);
  // Devices that are hidden now may have been used before, by what dies now.
  if (device < 0 || device >= state.most_shown) return fail(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

// Numbers of an H100, whose compute capability is 9.0.
API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  CALL(cudaDeviceGetAttribute);
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 48 << 10; break;
    default: *value = 0;
  }
  return cudaSuccess;
}

API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* found, int device) {
  CALL(cudaGetDeviceProperties);
  if (device < 0 || device >= state.devices) return fail(cudaErrorInvalidDevice);
  *found = {};
  std::snprintf(found->name, sizeof found->name, "CUDA on the CPU, device %d", device);
  found->totalGlobalMem = state.capacity;
  found->major = 9;
  found->multiProcessorCount = 132;
  found->maxThreadsPerMultiProcessor = 2048;
  found->maxThreadsPerBlock = 1024;
  found->warpSize = 32;
  found->sharedMemPerBlock = 48 << 10;
  found->regsPerBlock = 64 << 10;
  found->l2CacheSize = 50 << 20;
  return cudaSuccess;
}

API cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  CALL(cudaDeviceGetPCIBusId);
  std::snprintf(text, static_cast<size_t>(size), "0000:%02d:00.0", device);
  return cudaSuccess;
}

API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  CALL(cudaDeviceCanAccessPeer);
  *can = state.peers;
  return cudaSuccess;
}

API cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) {
  CALL(cudaDeviceEnablePeerAccess);
  return state.peers ? cudaSuccess : fail(cudaErrorPeerAccessUnsupported);
}

API cudaError_t cudaProfilerStart() {
  CALL(cudaProfilerStart);
  return cudaSuccess;
}

API cudaError_t cudaProfilerStop() {
  CALL(cudaProfilerStop);
  return cudaSuccess;
}

// The devices' default streams belong to them.
__attribute__((constructor)) static void number_streams() {
  for (int device = 0; device < most_devices; ++device)
    state.null_streams[device].device = device;
}
