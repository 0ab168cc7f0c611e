// Memory of the pretended card: pages of the process that are counted against the card's size.

#include "card.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <map>

using namespace card;

namespace {

struct Block {
    size_t size;
    int device;
};
using Blocks = std::map<uintptr_t, Block>;

Blocks& on_device() {
    static auto* blocks = new Blocks;
    return *blocks;
}
Blocks& page_locked() {
    static auto* blocks = new Blocks;
    return *blocks;
}
size_t used = 0;
size_t limit = SIZE_MAX;  // set by a test; MOCK_CUDA_MEMORY_MB otherwise

size_t available() {
    size_t total = limit < memory_total() ? limit : memory_total();
    size_t taken = used + memory_elsewhere();
    return total > taken ? total - taken : 0;
}

const Block* find(Blocks& blocks, const void* address) {
    auto after = blocks.upper_bound((uintptr_t)address);
    if (after == blocks.begin()) return nullptr;
    const auto& [start, block] = *--after;
    return (uintptr_t)address < start + block.size ? &block : nullptr;
}

size_t whole_pages(size_t size) { return (size + 4095) & ~(size_t)4095; }

void* new_pages(size_t size) {
    void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? nullptr : pages;
}

// Copies between the kinds of memory are counted apart. During a capture a copy becomes a node, and only copies that
// need nothing of the host's timing may be recorded.
cudaError_t copy(void* to, const void* from, size_t size, cudaStream_t handle) {
    Lock lock(mutex());
    const bool to_card = find(on_device(), to) != nullptr, from_card = find(on_device(), from) != nullptr;
    const Count count = to_card && from_card ? COPIES_ON_DEVICE
                        : from_card          ? COPIES_TO_HOST
                        : find(page_locked(), from) != nullptr ? COPIES_PINNED : COPIES_PAGEABLE;
    Stream* queue = stream(handle);
    if (queue->capture != nullptr && (count == COPIES_TO_HOST || count == COPIES_PAGEABLE)) {
        return spoil(queue, cudaErrorStreamCaptureUnsupported);
    }
    const bool is_recorded = queue->capture != nullptr;
    const cudaError_t error = enqueue(handle, count);
    if (error == cudaSuccess && !is_recorded) memmove(to, from, size);
    return error;
}

}  // namespace

// Bytes that the card holds from now on, at most what MOCK_CUDA_MEMORY_MB says.
EXPORTED void mock_cuda_limit_memory(size_t bytes) { limit = bytes; }
EXPORTED size_t mock_cuda_memory_used() { return used; }

EXPORTED cudaError_t cudaMalloc(void** address, size_t size) {
    if (cudaError_t error = check_no_capture()) return error;
    Lock lock(mutex());
    size = whole_pages(size);
    if (size > available()) return refuse(cudaErrorMemoryAllocation);
    *address = new_pages(size);
    if (*address == nullptr) return refuse(cudaErrorMemoryAllocation);
    on_device()[(uintptr_t)*address] = {size, current_device()};
    used += size;
    add(ALLOCATIONS);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaFree(void* address) {
    if (address == nullptr) return cudaSuccess;
    if (cudaError_t error = check_no_capture()) return error;
    Lock lock(mutex());
    auto found = on_device().find((uintptr_t)address);
    if (found == on_device().end()) return refuse(cudaErrorInvalidValue);
    munmap(address, found->second.size);
    used -= found->second.size;
    on_device().erase(found);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    Lock lock(mutex());
    *free = available();
    *total = memory_total();
    return cudaSuccess;
}

EXPORTED cudaError_t cudaHostAlloc(void** address, size_t size, unsigned) {
    if (cudaError_t error = check_no_capture()) return error;
    Lock lock(mutex());
    size = whole_pages(size);
    *address = new_pages(size);
    if (*address == nullptr) return refuse(cudaErrorMemoryAllocation);
    page_locked()[(uintptr_t)*address] = {size, current_device()};
    return cudaSuccess;
}
EXPORTED cudaError_t cudaFreeHost(void* address) {
    if (cudaError_t error = check_no_capture()) return error;
    Lock lock(mutex());
    auto found = page_locked().find((uintptr_t)address);
    if (found == page_locked().end()) return refuse(cudaErrorInvalidValue);
    munmap(address, found->second.size);
    page_locked().erase(found);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
EXPORTED cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
EXPORTED cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* address) {
    Lock lock(mutex());
    memset(found, 0, sizeof *found);
    const Block* block = find(on_device(), address);
    found->type = block != nullptr ? cudaMemoryTypeDevice
                  : find(page_locked(), address) != nullptr ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    found->device = block != nullptr ? block->device : current_device();
    found->devicePointer = found->hostPointer = const_cast<void*>(address);
    return cudaSuccess;
}

EXPORTED cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind, cudaStream_t handle) {
    return copy(to, from, size, handle);
}
EXPORTED cudaError_t cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind) {
    if (cudaError_t error = check_no_capture()) return error;
    add(WAITS);
    return copy(to, from, size, nullptr);
}
EXPORTED cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) {
    return check_no_capture();
}
EXPORTED cudaError_t cudaGetSymbolAddress(void** address, const void*) {
    static char symbol[1 << 16];
    *address = symbol;
    return cudaSuccess;
}

// A fill is done, unless it is recorded: zeros are the values that most code expects to find.
EXPORTED cudaError_t cudaMemsetAsync(void* address, int value, size_t size, cudaStream_t handle) {
    Lock lock(mutex());
    const bool is_recorded = stream(handle)->capture != nullptr;
    const cudaError_t error = enqueue(handle, LAUNCHES);
    if (error == cudaSuccess && !is_recorded) memset(address, value, size);
    return error;
}
EXPORTED cudaError_t cudaMemset(void* address, int value, size_t size) {
    if (cudaError_t error = check_no_capture()) return error;
    return cudaMemsetAsync(address, value, size, nullptr);
}
