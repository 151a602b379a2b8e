// NCCL made of the processor, for tests: its calls that `kernel` makes, between processes of one
// machine, over a file that all map. A sum is queued and made on a thread of its own; like a card's
// it waits for every rank, forever where one is gone, until it is aborted.
//
// Ranks are added up from the last to the first, which is not the order of sums over TCP.
//
// EMULATED_SUMS names a file to which each rank appends a line for every group: floats, rank.
// EMULATED_NCCL_FAILURE=1 lets every communicator fail as it is made; EMULATED_DEATH=3 kills the
// process inside its third sum, 0 before it has met the others.

#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

// Compiled with NCCL's own header beside it, these would have to agree with it (scripts/gpu/nccl).
#ifdef NCCL_HEADER
#include NCCL_HEADER
#else
typedef enum {
    ncclSuccess = 0,
    ncclSystemError = 2,
    ncclInvalidUsage = 5,
    ncclInProgress = 7,
} ncclResult_t;
typedef enum { ncclSum = 0 } ncclRedOp_t;
typedef enum { ncclFloat32 = 7 } ncclDataType_t;
typedef struct {
    char internal[128];
} ncclUniqueId;
typedef struct ncclComm* ncclComm_t;
typedef struct CUstream_st* cudaStream_t;
typedef struct {
    size_t size;
    unsigned int magic, version;
    int blocking, cgaClusterSize, minCTAs, maxCTAs;
    const char* netName;
    int splitShare;
} ncclConfig_t;
#endif

namespace sums {

constexpr size_t CHUNK = 1 << 16;
constexpr int RANKS = 16;

// What the ranks of a communicator share; a new file is zeros.
struct Board {
    std::atomic<int> arrived[2];
    std::atomic<unsigned> turn[2];
    unsigned char cards[RANKS][16];
    float values[RANKS][CHUNK];
};

struct Sum {
    float* values;
    size_t count;
};

}  // namespace sums

struct ncclComm {
    int rank, size;
    std::string path;
    sums::Board* board = nullptr;
    std::vector<sums::Sum> queued;
    std::thread thread;
    std::atomic<bool> is_aborted{false};
    std::atomic<int> state{ncclInProgress};
    std::atomic<bool> is_busy{false};
};

namespace sums {

static ncclComm* open_group = nullptr;
static std::atomic<ncclComm*> last{nullptr};

static unsigned char* card() {
    static unsigned char own[16];
    return own;
}

// Whether all ranks came before this one was aborted.
static bool meet(ncclComm* own, int door) {
    Board& board = *own->board;
    unsigned turn = board.turn[door];
    if (++board.arrived[door] == own->size) {
        board.arrived[door] = 0;
        ++board.turn[door];
    }
    while (board.turn[door] == turn) {
        if (own->is_aborted) {
            return false;
        }
        usleep(50);
    }
    return true;
}

// The sum in which the process dies, from 1; 0 is before them.
static int death() {
    const char* sum = getenv("EMULATED_DEATH");
    return sum ? atoi(sum) : -1;
}

static ncclResult_t begin(ncclComm* own) {
    if (death() == 0) {
        raise(SIGKILL);
    }
    if (getenv("EMULATED_NCCL_FAILURE")) {
        return ncclSystemError;
    }
    int file = open(own->path.c_str(), O_RDWR | O_CREAT, 0600);
    if (file < 0 || own->size > RANKS || ftruncate(file, sizeof(Board)) != 0) {
        return ncclSystemError;
    }
    void* board = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (board == MAP_FAILED) {
        return ncclSystemError;
    }
    own->board = (Board*)board;
    memcpy(own->board->cards[own->rank], card(), 16);
    if (!meet(own, 0)) {
        return ncclSystemError;
    }
    unlink(own->path.c_str());
    for (int rank = 0; rank < own->size; ++rank) {
        if (rank != own->rank && memcmp(own->board->cards[rank], card(), 16) == 0) {
            return ncclInvalidUsage;
        }
    }
    return ncclSuccess;
}

static void add_up(ncclComm* own) {
    static int made = 0;
    Board& board = *own->board;
    if (++made == death()) {
        meet(own, 0);
        raise(SIGKILL);
    }
    for (const Sum& sum : own->queued) {
        for (size_t at = 0; at < sum.count; at += CHUNK) {
            size_t count = sum.count - at < CHUNK ? sum.count - at : CHUNK;
            memcpy(board.values[own->rank], sum.values + at, count * sizeof(float));
            if (!meet(own, 0)) {
                return;
            }
            for (size_t i = 0; i < count; ++i) {
                float total = board.values[own->size - 1][i];
                for (int rank = own->size - 2; rank >= 0; --rank) {
                    total += board.values[rank][i];
                }
                sum.values[at + i] = total;
            }
            if (!meet(own, 1)) {
                return;
            }
        }
    }
}

// Whether the stream still has a sum to make.
static bool is_busy() {
    ncclComm* own = last;
    return own && own->is_busy;
}

// What is queued behind a sum waits for it.
static void settle() {
    while (is_busy()) {
        usleep(50);
    }
}

}  // namespace sums

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
    *version = 21800;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
    memset(id->internal, 0, sizeof(id->internal));
    const char* folder = getenv("TMPDIR");
    std::string path = std::string(folder ? folder : "/tmp") + "/emulated-nccl-XXXXXX";
    if (path.size() >= sizeof(id->internal)) {
        return ncclSystemError;
    }
    memcpy(id->internal, path.data(), path.size());
    int file = mkstemp(id->internal);
    close(file);
    return file < 0 ? ncclSystemError : ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int nranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
    *comm = nullptr;
    if (rank < 0 || rank >= nranks || config->magic != 0xcafebeef || config->size < 48 ||
        config->version < 21400 || config->blocking != 0) {
        return ncclInvalidUsage;
    }
    ncclComm* own = new ncclComm;
    own->rank = rank;
    own->size = nranks;
    own->path = id.internal;
    own->thread = std::thread([own] { own->state = sums::begin(own); });
    *comm = own;
    sums::last = own;
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
    *state = (ncclResult_t)comm->state.load();
    return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
    sums::open_group = nullptr;
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t) {
    if (from != to || type != ncclFloat32 || operation != ncclSum || comm->state != ncclSuccess) {
        return ncclInvalidUsage;
    }
    if (sums::open_group == nullptr) {
        sums::settle();
        comm->queued.clear();
        sums::open_group = comm;
    }
    comm->queued.push_back(sums::Sum{(float*)to, count});
    return ncclSuccess;
}

// The call is under way on the host, then on the stream.
ncclResult_t ncclGroupEnd() {
    ncclComm* own = sums::open_group;
    if (own == nullptr) {
        return ncclSuccess;
    }
    own->thread.join();
    own->is_busy = true;
    own->state = ncclInProgress;
    own->thread = std::thread([own] {
        usleep(2000);
        own->state = ncclSuccess;
        sums::add_up(own);
        if (const char* path = getenv("EMULATED_SUMS")) {
            size_t count = 0;
            for (const sums::Sum& sum : own->queued) {
                count += sum.count;
            }
            FILE* file = fopen(path, "a");
            fprintf(file, "%zu %d\n", count, own->rank);
            fclose(file);
        }
        own->is_busy = false;
    });
    return ncclInProgress;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
    comm->is_aborted = true;
    comm->thread.join();
    if (comm->board) {
        munmap(comm->board, sizeof(sums::Board));
    }
    sums::last = nullptr;
    delete comm;
    return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
    return result == ncclSystemError ? "unhandled system error" : "invalid usage";
}

const char* ncclGetLastError(ncclComm_t) { return ""; }

}  // extern "C"
