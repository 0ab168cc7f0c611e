// cuBLAS and cuBLASLt, as far as the suite's networks call them. A product is one launch.
//
// cuBLAS's headers need the CUDA toolkit, so its functions are declared here: handles and descriptions are pointers,
// enumerations are integers, and what a product reads and writes is not looked at.

#include "card.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

using namespace card;

namespace {

enum Status { SUCCESS = 0, ARCH_MISMATCH = 8, EXECUTION_FAILED = 13 };

struct Handle {
    cudaStream_t stream;
};

Status product(cudaStream_t stream) {
    if (capability() < 75) {
        refuse(cudaErrorNoKernelImageForDevice);
        return ARCH_MISMATCH;
    }
    return enqueue(stream, LAUNCHES) == cudaSuccess ? SUCCESS : EXECUTION_FAILED;
}

// Torch passes descriptions of products back and never looks into them.
Status make(void** description) {
    *description = calloc(1, 64);
    return SUCCESS;
}
Status destroy(void* description) {
    free(description);
    return SUCCESS;
}

using In = const void*;
using Out = void*;

}  // namespace

EXPORTED Status cublasCreate_v2(Handle** handle) {
    *handle = new Handle{nullptr};
    return SUCCESS;
}
EXPORTED Status cublasDestroy_v2(Handle* handle) {
    delete handle;
    return SUCCESS;
}
EXPORTED Status cublasSetStream_v2(Handle* handle, cudaStream_t stream) {
    handle->stream = stream;
    return SUCCESS;
}
EXPORTED Status cublasSetWorkspace_v2(Handle*, void*, size_t) { return SUCCESS; }
EXPORTED Status cublasSetMathMode(Handle*, int) { return SUCCESS; }
EXPORTED Status cublasGetMathMode(Handle*, int* mode) {
    *mode = 0;  // the default
    return SUCCESS;
}
EXPORTED Status cublasSetPointerMode_v2(Handle*, int) { return SUCCESS; }
EXPORTED Status cublasGetPointerMode_v2(Handle*, int* mode) {
    *mode = 0;  // scalars lie on the host
    return SUCCESS;
}
EXPORTED const char* cublasGetStatusString(Status status) {
    return status == EXECUTION_FAILED ? "the GPU program failed to execute" : "a status of cuBLAS";
}

EXPORTED Status cublasSgemm_v2(
    Handle* handle, int, int, int, int, int, In, In, int, In, int, In, Out, int) {
    return product(handle->stream);
}
EXPORTED Status cublasSgemv_v2(Handle* handle, int, int, int, In, In, int, In, int, In, Out, int) {
    return product(handle->stream);
}
EXPORTED Status cublasSdot_v2(Handle* handle, int, In, int, In, int, Out) { return product(handle->stream); }
EXPORTED Status cublasGemmEx(
    Handle* handle, int, int, int, int, int, In, In, int, int, In, int, int, In, Out, int, int, int, int) {
    return product(handle->stream);
}
EXPORTED Status cublasSgemmStridedBatched(
    Handle* handle, int, int, int, int, int, In, In, int, long long, In, int, long long, In, Out, int, long long, int) {
    return product(handle->stream);
}
EXPORTED Status cublasGemmStridedBatchedEx(
    Handle* handle, int, int, int, int, int, In, In, int, int, long long, In, int, int, long long, In, Out, int, int,
    long long, int, int, int) {
    return product(handle->stream);
}

// -- cuBLASLt

EXPORTED size_t cublasLtGetVersion() { return 130000; }
EXPORTED Status cublasLtMatrixLayoutCreate(void** layout, int, uint64_t, uint64_t, int64_t) { return make(layout); }
EXPORTED Status cublasLtMatrixLayoutDestroy(void* layout) { return destroy(layout); }
EXPORTED Status cublasLtMatrixLayoutSetAttribute(void*, int, In, size_t) { return SUCCESS; }
EXPORTED Status cublasLtMatmulDescCreate(void** description, int, int) { return make(description); }
EXPORTED Status cublasLtMatmulDescDestroy(void* description) { return destroy(description); }
EXPORTED Status cublasLtMatmulDescSetAttribute(void*, int, In, size_t) { return SUCCESS; }
EXPORTED Status cublasLtMatmulPreferenceCreate(void** preference) { return make(preference); }
EXPORTED Status cublasLtMatmulPreferenceDestroy(void* preference) { return destroy(preference); }
EXPORTED Status cublasLtMatmulPreferenceSetAttribute(void*, int, In, size_t) { return SUCCESS; }

// As cublasLtMatmulHeuristicResult_t lays it out.
struct Heuristic {
    uint64_t algorithm[8];
    size_t workspace_bytes;
    Status state;
    float waves;
    int reserved[4];
};
EXPORTED Status cublasLtMatmulAlgoGetHeuristic(
    Handle*, In, In, In, In, In, In, int, Heuristic* found, int* n_found) {
    memset(found, 0, sizeof *found);
    *n_found = 1;
    add(PLANS);
    return SUCCESS;
}
EXPORTED Status cublasLtMatmul(
    Handle*, In, In, In, In, In, In, In, In, In, Out, In, In, Out, size_t, cudaStream_t stream) {
    return product(stream);
}
