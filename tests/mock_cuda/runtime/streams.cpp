// Streams, events, captures and kernels. Work is done when it is queued, so waiting ends at once, but it is counted.

#include "card.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace card {

namespace {

std::vector<Capture*>& captures() {
    static auto* active = new std::vector<Capture*>;
    return *active;
}
unsigned long long n_captures = 0;
thread_local cudaStreamCaptureMode mode_of_thread = cudaStreamCaptureModeGlobal;

// The node at which the next captures fail, counted over all of them; 0 for none. Set by a test.
long failing_node = 0;
cudaError_t failure = cudaSuccess;

bool is_active(const Capture* capture) {
    return std::find(captures().begin(), captures().end(), capture) != captures().end();
}

}  // namespace

Stream* stream(cudaStream_t handle) {
    static auto* standard = new Stream{nullptr};
    // The handles 0, 1 and 2 name the default streams.
    return (size_t)handle <= 2 ? standard : reinterpret_cast<Stream*>(handle);
}

cudaError_t spoil(Stream* stream, cudaError_t error) {
    if (stream->capture != nullptr) stream->capture->is_valid = false;
    return refuse(error);
}

cudaError_t check_no_capture() {
    Lock lock(mutex());
    if (mode_of_thread == cudaStreamCaptureModeRelaxed) return cudaSuccess;
    cudaError_t error = cudaSuccess;
    for (Capture* capture : captures()) {
        if (capture->mode == cudaStreamCaptureModeRelaxed) continue;
        capture->is_valid = false;
        error = cudaErrorStreamCaptureUnsupported;
    }
    return error == cudaSuccess ? error : refuse(error);
}

cudaError_t enqueue(cudaStream_t handle, Count count) {
    Lock lock(mutex());
    Capture* capture = stream(handle)->capture;
    if (capture == nullptr) {
        add(count);
        return cudaSuccess;
    }
    if (!capture->is_valid) return refuse(cudaErrorStreamCaptureInvalidated);
    capture->n_nodes++;
    add(CAPTURED);
    if (failing_node > 0 && --failing_node == 0) return spoil(stream(handle), failure);
    return cudaSuccess;
}

}  // namespace card

using namespace card;

// Lets the n-th node that is recorded from now on fail with an error, once.
EXPORTED void mock_cuda_fail_capture(long node, int error) {
    failing_node = node;
    failure = (cudaError_t)error;
}

static cudaError_t waited() {
    if (cudaError_t error = check_no_capture()) return error;
    add(WAITS);
    return cudaSuccess;
}

// -- streams

EXPORTED cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned, int) {
    *handle = reinterpret_cast<cudaStream_t>(new Stream{nullptr});
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
    return cudaStreamCreateWithPriority(handle, flags, 0);
}
EXPORTED cudaError_t cudaStreamCreate(cudaStream_t* handle) { return cudaStreamCreateWithPriority(handle, 0, 0); }
EXPORTED cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
EXPORTED cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
    *priority = 0;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamQuery(cudaStream_t) { return check_no_capture(); }
EXPORTED cudaError_t cudaStreamSynchronize(cudaStream_t) { return waited(); }
EXPORTED cudaError_t cudaDeviceSynchronize() { return waited(); }
EXPORTED cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t function, void* data) {
    function(data);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamAddCallback(cudaStream_t handle, cudaStreamCallback_t function, void* data, unsigned) {
    function(handle, cudaSuccess, data);
    return cudaSuccess;
}

// -- events

struct Event {
    Capture* capture;
    double at_s;
};
static Event* event(cudaEvent_t handle) { return reinterpret_cast<Event*>(handle); }

EXPORTED cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned) {
    *handle = reinterpret_cast<cudaEvent_t>(new Event{nullptr, 0});
    return cudaSuccess;
}
EXPORTED cudaError_t cudaEventCreate(cudaEvent_t* handle) { return cudaEventCreateWithFlags(handle, 0); }
EXPORTED cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    delete event(handle);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t queue, unsigned) {
    Lock lock(mutex());
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *event(handle) = {stream(queue)->capture, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec};
    return cudaSuccess;
}
EXPORTED cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t queue) {
    return cudaEventRecordWithFlags(handle, queue, 0);
}
// A stream that waits for a capturing stream joins its capture. A capturing stream cannot wait for other work.
EXPORTED cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t waited_for, unsigned) {
    Lock lock(mutex());
    Stream* queue = stream(handle);
    Capture* capture = is_active(event(waited_for)->capture) ? event(waited_for)->capture : nullptr;
    if (capture != nullptr && queue->capture == nullptr) {
        queue->capture = capture;
        capture->streams.push_back(queue);
    } else if (capture == nullptr && queue->capture != nullptr) {
        return spoil(queue, cudaErrorStreamCaptureIsolation);
    }
    return cudaSuccess;
}
EXPORTED cudaError_t cudaEventQuery(cudaEvent_t) { return check_no_capture(); }
EXPORTED cudaError_t cudaEventSynchronize(cudaEvent_t) { return waited(); }
EXPORTED cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
    *ms = (float)(1e3 * (event(end)->at_s - event(start)->at_s));
    return cudaSuccess;
}

// -- captures and graphs

struct Graph {
    size_t n_nodes;
};

EXPORTED cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    Lock lock(mutex());
    Stream* queue = stream(handle);
    if (queue == stream(nullptr)) return refuse(cudaErrorStreamCaptureUnsupported);
    if (queue->capture != nullptr) return refuse(cudaErrorIllegalState);
    queue->capture = new Capture{++n_captures, mode, true, 0, {queue}};
    captures().push_back(queue->capture);
    add(CAPTURES);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamBeginCaptureToGraph(
    cudaStream_t handle, cudaGraph_t, const cudaGraphNode_t*, const cudaGraphEdgeData*, size_t,
    cudaStreamCaptureMode mode) {
    return cudaStreamBeginCapture(handle, mode);
}
EXPORTED cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    Lock lock(mutex());
    *graph = nullptr;
    Capture* capture = stream(handle)->capture;
    if (capture == nullptr) return refuse(cudaErrorIllegalState);
    for (Stream* joined : capture->streams) joined->capture = nullptr;
    captures().erase(std::find(captures().begin(), captures().end(), capture));
    if (!capture->is_valid) return refuse(cudaErrorStreamCaptureInvalidated);
    *graph = reinterpret_cast<cudaGraph_t>(new Graph{capture->n_nodes});
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
    Lock lock(mutex());
    const Capture* capture = stream(handle)->capture;
    *status = capture == nullptr    ? cudaStreamCaptureStatusNone
              : capture->is_valid ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusInvalidated;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph,
    const cudaGraphNode_t** dependencies, const cudaGraphEdgeData** edges, size_t* n_dependencies) {
    Lock lock(mutex());
    static const cudaGraphNode_t none[1] = {nullptr};
    Capture* capture = stream(handle)->capture;
    if (id != nullptr) *id = capture == nullptr ? 0 : capture->id;
    if (graph != nullptr) *graph = reinterpret_cast<cudaGraph_t>(capture);
    if (dependencies != nullptr) *dependencies = none;
    if (edges != nullptr) *edges = nullptr;
    if (n_dependencies != nullptr) *n_dependencies = 0;
    return cudaStreamIsCapturing(handle, status);
}
EXPORTED cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
    std::swap(*mode, mode_of_thread);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
    *made = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
    return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* n) {
    *n = reinterpret_cast<Graph*>(graph)->n_nodes;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t handle) {
    Lock lock(mutex());
    if (stream(handle)->capture != nullptr) return spoil(stream(handle), cudaErrorStreamCaptureUnsupported);
    add(REPLAYS);
    add(REPLAYED, (long)reinterpret_cast<Graph*>(graph)->n_nodes);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete reinterpret_cast<Graph*>(graph);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    delete reinterpret_cast<Graph*>(graph);
    return cudaSuccess;
}

// -- kernels

struct Configuration {
    dim3 grid, block;
    size_t shared_bytes;
    void* stream;
};
static thread_local std::vector<Configuration>* configurations = nullptr;

EXPORTED void** __cudaRegisterFatBinary(void*) {
    static void* handle[1];
    return handle;
}
EXPORTED void __cudaRegisterFatBinaryEnd(void**) {}
EXPORTED void __cudaUnregisterFatBinary(void**) {}
EXPORTED void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
EXPORTED void __cudaRegisterFunction(
    void**, const char*, char*, const char*, int, void*, void*, void*, void*, int*) {}
EXPORTED char __cudaInitModule(void**) { return 1; }
EXPORTED unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes, struct CUstream_st* queue) {
    if (configurations == nullptr) configurations = new std::vector<Configuration>;
    configurations->push_back({grid, block, shared_bytes, queue});
    return 0;
}
EXPORTED cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes, void* queue) {
    const Configuration last = configurations->back();
    configurations->pop_back();
    *grid = last.grid;
    *block = last.block;
    *shared_bytes = last.shared_bytes;
    *static_cast<void**>(queue) = last.stream;
    return cudaSuccess;
}
EXPORTED cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
    *kernel = (cudaKernel_t)function;
    return cudaSuccess;
}
// Builds of torch for CUDA 13 have kernels for compute capability 7.5 and newer.
static cudaError_t launched(cudaStream_t handle) {
    return capability() < 75 ? refuse(cudaErrorNoKernelImageForDevice) : enqueue(handle, LAUNCHES);
}
EXPORTED cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t handle) {
    return launched(handle);
}
EXPORTED cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t handle) {
    return launched(handle);
}
EXPORTED cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* configuration, const void*, void**) {
    return launched(configuration->stream);
}
EXPORTED cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* found, const void*) {
    memset(found, 0, sizeof *found);
    found->maxThreadsPerBlock = 1024;
    found->numRegs = 32;
    found->ptxVersion = found->binaryVersion = capability();
    found->maxDynamicSharedSizeBytes = 227 << 10;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
EXPORTED cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t, cudaFuncAttribute, int, int) { return cudaSuccess; }
EXPORTED cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int* n, const void*, int, size_t, unsigned) {
    *n = 2;
    return cudaSuccess;
}
