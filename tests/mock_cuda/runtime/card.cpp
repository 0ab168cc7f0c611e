// The pretended card: its properties, the counts, and what tests can change.

#include "card.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace card {

namespace {

long counts[N_COUNTS];
thread_local cudaError_t last_error = cudaSuccess;
thread_local int device = 0;

long from_environment(const char* name, long otherwise) {
    const char* text = getenv(name);
    return text != nullptr && *text != '\0' ? atol(text) : otherwise;
}

}  // namespace

void add(Count count, long n) {
    Lock lock(mutex());
    counts[count] += n;
}

int capability() { return (int)from_environment("MOCK_CUDA_CAPABILITY", 90); }
int n_devices() { return (int)from_environment("MOCK_CUDA_DEVICES", 1); }
int driver_version() { return (int)from_environment("MOCK_CUDA_DRIVER", 13000); }
size_t memory_total() { return (size_t)from_environment("MOCK_CUDA_MEMORY_MB", 81920) << 20; }
size_t memory_elsewhere() { return (size_t)from_environment("MOCK_CUDA_ELSEWHERE_MB", 0) << 20; }
int current_device() { return device; }

std::recursive_mutex& mutex() {
    // Never destroyed: torch's own destructors call the runtime at the end of the process.
    static auto* the_mutex = new std::recursive_mutex;
    return *the_mutex;
}

cudaError_t refuse(cudaError_t error) {
    last_error = error;
    return error;
}

}  // namespace card

using namespace card;

EXPORTED const long* mock_cuda_counts() { return counts; }
EXPORTED int mock_cuda_n_counts() { return N_COUNTS; }

EXPORTED cudaError_t cudaGetLastError() {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
EXPORTED cudaError_t cudaPeekAtLastError() { return last_error; }

EXPORTED const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorInvalidDevice: return "invalid device ordinal";
        case cudaErrorNoKernelImageForDevice: return "no kernel image is available for execution on the device";
        case cudaErrorLaunchFailure: return "unspecified launch failure";
        case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
        case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
        case cudaErrorStreamCaptureIsolation: return "dependency created on uncaptured work in another stream";
        default: return "an error that the pretended runtime has no words for";
    }
}
EXPORTED const char* cudaGetErrorName(cudaError_t error) {
    static thread_local char name[32];
    snprintf(name, sizeof name, "cudaError %d", (int)error);
    return name;
}

// -- devices

EXPORTED cudaError_t cudaGetDeviceCount(int* n) {
    *n = 0;
    if (driver_version() < 13000) return refuse(cudaErrorInsufficientDriver);
    if (n_devices() == 0) return refuse(cudaErrorNoDevice);
    *n = n_devices();
    return cudaSuccess;
}
EXPORTED cudaError_t cudaGetDevice(int* current) {
    *current = device;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaSetDevice(int wanted) {
    if (wanted < 0 || wanted >= n_devices()) return refuse(cudaErrorInvalidDevice);
    device = wanted;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaDriverGetVersion(int* version) {
    *version = driver_version();
    return cudaSuccess;
}
EXPORTED cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}

EXPORTED cudaError_t cudaGetDeviceProperties(cudaDeviceProp* found, int) {
    const int cc = capability();
    memset(found, 0, sizeof *found);
    snprintf(found->name, sizeof found->name, "Pretended card %d.%d", cc / 10, cc % 10);
    found->major = cc / 10;
    found->minor = cc % 10;
    found->totalGlobalMem = memory_total();
    found->multiProcessorCount = cc >= 90 ? 132 : cc >= 80 ? 108 : 40;
    found->warpSize = 32;
    found->maxThreadsPerBlock = 1024;
    found->maxThreadsDim[0] = found->maxThreadsDim[1] = 1024;
    found->maxThreadsDim[2] = 64;
    found->maxGridSize[0] = 2147483647;
    found->maxGridSize[1] = found->maxGridSize[2] = 65535;
    found->maxThreadsPerMultiProcessor = cc == 75 ? 1024 : 2048;
    found->maxBlocksPerMultiProcessor = 32;
    found->regsPerBlock = found->regsPerMultiprocessor = 65536;
    found->sharedMemPerBlock = 48 << 10;
    found->sharedMemPerBlockOptin = (cc >= 90 ? 227 : cc >= 80 ? 163 : 64) << 10;
    found->sharedMemPerMultiprocessor = (cc >= 90 ? 228 : cc >= 80 ? 164 : 64) << 10;
    found->totalConstMem = 64 << 10;
    found->l2CacheSize = 50 << 20;
    found->memPitch = 2147483647;
    found->textureAlignment = 512;
    found->memoryBusWidth = 5120;
    found->asyncEngineCount = 3;
    found->concurrentKernels = found->canMapHostMemory = found->unifiedAddressing = found->managedMemory = 1;
    found->cooperativeLaunch = found->memoryPoolsSupported = found->streamPrioritiesSupported = 1;
    found->clusterLaunch = cc >= 90;
    return cudaSuccess;
}

EXPORTED cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int number) {
    cudaDeviceProp properties;
    cudaGetDeviceProperties(&properties, number);
    switch (attribute) {
        case cudaDevAttrMaxThreadsPerBlock: *value = properties.maxThreadsPerBlock; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = properties.maxThreadsPerMultiProcessor; break;
        case cudaDevAttrMaxBlocksPerMultiprocessor: *value = properties.maxBlocksPerMultiProcessor; break;
        case cudaDevAttrMaxRegistersPerBlock: *value = properties.regsPerBlock; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)properties.sharedMemPerBlock; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)properties.sharedMemPerBlockOptin; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (int)properties.sharedMemPerMultiprocessor; break;
        case cudaDevAttrMaxGridDimX: *value = properties.maxGridSize[0]; break;
        case cudaDevAttrMaxGridDimY:
        case cudaDevAttrMaxGridDimZ: *value = properties.maxGridSize[1]; break;
        case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; break;
        case cudaDevAttrComputeCapabilityMajor: *value = properties.major; break;
        case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; break;
        case cudaDevAttrL2CacheSize: *value = properties.l2CacheSize; break;
        case cudaDevAttrWarpSize: *value = properties.warpSize; break;
        default: *value = 1;
    }
    return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int number) {
    snprintf(text, size, "0000:%02x:00.0", number);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
    *can = 0;
    return cudaSuccess;
}

// -- the driver, as far as torch asks it

static int nothing(...) { return 0; }

EXPORTED cudaError_t cudaGetDriverEntryPointByVersion(
    const char*, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* result) {
    *function = (void*)nothing;
    if (result != nullptr) *result = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

EXPORTED int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* is_active) {
    *flags = 0;
    *is_active = 1;
    return 0;
}
EXPORTED int cuDeviceGet(int* found, int number) {
    *found = number;
    return 0;
}
EXPORTED int cuDeviceGetAttribute(int* value, int, int) {
    *value = 1;
    return 0;
}
EXPORTED int cuCtxGetCurrent(void** context) {
    *context = (void*)counts;
    return 0;
}
EXPORTED int cuDevicePrimaryCtxRetain(void** context, int) { return cuCtxGetCurrent(context); }
EXPORTED int cuGetErrorString(int, const char** text) {
    *text = "an error of the pretended driver";
    return 0;
}
EXPORTED int cuDriverGetVersion(int* version) {
    *version = driver_version();
    return 0;
}

#define DOES_NOTHING(name) EXPORTED int name() { return 0; }
DOES_NOTHING(cuInit)
DOES_NOTHING(cuCtxSetCurrent)
DOES_NOTHING(cuFuncGetAttribute)
DOES_NOTHING(cuFuncSetAttribute)
DOES_NOTHING(cuFuncSetCacheConfig)
DOES_NOTHING(cuLaunchCooperativeKernel)
DOES_NOTHING(cuLaunchKernel)
DOES_NOTHING(cuLinkAddData_v2)
DOES_NOTHING(cuLinkComplete)
DOES_NOTHING(cuLinkCreate_v2)
DOES_NOTHING(cuModuleGetFunction)
DOES_NOTHING(cuModuleLoad)
DOES_NOTHING(cuModuleLoadData)
DOES_NOTHING(cuModuleLoadDataEx)
DOES_NOTHING(cuModuleUnload)
DOES_NOTHING(cuOccupancyMaxActiveBlocksPerMultiprocessor)
DOES_NOTHING(cuPointerGetAttribute)
DOES_NOTHING(cuTensorMapEncodeTiled)
