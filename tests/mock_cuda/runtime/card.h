// What the parts of the pretended CUDA runtime share: the card, the counts, streams and captures.
//
// The library is preloaded in front of cudart, cuBLAS and the driver. Memory is real (ordinary pages), copies copy,
// kernels do nothing. Streams and captures keep state, so that what a driver refuses during a capture is refused here.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <mutex>
#include <vector>

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace card {

// Counts since the process began. `counts.py` has the same names in the same order.
enum Count {
    LAUNCHES,          // kernels, matrix products and fills that ran at once
    REPLAYS,           // launches of a recorded graph
    REPLAYED,          // nodes of the graphs that were launched
    CAPTURES,          // recordings that began
    CAPTURED,          // nodes that were recorded
    WAITS,             // calls that wait for the device
    COPIES_TO_HOST,
    COPIES_PINNED,     // from page-locked memory to the device
    COPIES_PAGEABLE,   // from other memory to the device
    COPIES_ON_DEVICE,
    ALLOCATIONS,
    PLANS,             // choices of an algorithm by cuBLASLt
    N_COUNTS
};

void add(Count count, long n = 1);

// The properties of the pretended card, from the environment (see README.md).
int capability();      // 90 for compute capability 9.0
int n_devices();
int driver_version();  // 13000 for CUDA 13.0
size_t memory_total();
size_t memory_elsewhere();  // bytes of other processes

int current_device();

std::recursive_mutex& mutex();
using Lock = std::lock_guard<std::recursive_mutex>;

// Remembers an error for cudaGetLastError and returns it.
cudaError_t refuse(cudaError_t error);

struct Capture {
    unsigned long long id;
    cudaStreamCaptureMode mode;
    bool is_valid;
    size_t n_nodes;
    std::vector<struct Stream*> streams;
};

struct Stream {
    Capture* capture;
};

Stream* stream(cudaStream_t handle);

// Queues work on a stream: a launch or, during a capture, a node.
cudaError_t enqueue(cudaStream_t handle, Count count);

// Refuses a call that may not be made while any stream captures, and spoils the captures.
cudaError_t check_no_capture();

// Spoils the capture of a stream; returns the error that a driver gives.
cudaError_t spoil(Stream* stream, cudaError_t error);

}  // namespace card
