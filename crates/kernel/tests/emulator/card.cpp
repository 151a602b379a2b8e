// Cards made of the processor, for tests: those calls of the CUDA driver, of NVRTC, of cuBLASLt and
// of NCCL that `kernel` makes, so that all of its code for cards runs as it is, kernels included.
//
// One library under the names libcuda.so, libnvrtc.so, libcublasLt.so and, where there is to be one,
// libnccl.so.2, all of them links to one file, since they share the stream. "Compiling" hands
// the kernels' source to g++; the image is the shared object. Memory is poisoned with NaN and ends
// at a guarded page, so that reading what was never written or past an end shows.
//
// EMULATED_BACKWARDS=1 runs the threads of a block from the last to the first; EMULATED_CARDS=2 is
// two cards, of which a process uses one.
// EMULATED_MEMORY_MIB=100 gives it that much memory in place of 4 GiB.
// EMULATED_FAULT="700 rms_forward 5" breaks the card by that error at the 5th launch of a kernel;
// as on a card, later calls tell of it. "2 cuMemAllocAsync 5" has no memory at the 5th allocation.

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "fibers.h"
#include "graphs.h"
#include "nccl.h"

struct Index3 {
    unsigned x, y, z;
};
// As in device.h.
struct Emulated {
    Index3 thread, block, block_size, grid_size;
    float* shared;
    void (*barrier)();
    const uint32_t* (*post)(const uint32_t* words, int count);
};

static Emulated emulated;
static std::recursive_mutex lock;

static const int OUT_OF_MEMORY = 2;
// The error that broke the card, which every call then gives.
static int broken = 0;
static int success() { return broken; }

// Whether the fault that was asked for happens at this call or launch.
static bool faults(const std::string& name, int* error) {
    static int wanted = 0, left = 0;
    static std::string place;
    if (left == 0 && place.empty()) {
        const char* asked = getenv("EMULATED_FAULT");
        std::istringstream(asked ? asked : "0 none 0") >> wanted >> place >> left;
    }
    *error = wanted;
    return place == name && --left == 0;
}

extern "C" {

// ---- the driver

static int context_of_all;

int cuInit(unsigned) { return success(); }
static int card_count() {
    const char* count = getenv("EMULATED_CARDS");
    return count ? atoi(count) : 1;
}
int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    sums::card()[0] = (unsigned char)(1 + ordinal);
    return ordinal < card_count() ? 0 : 101;
}
int cuDeviceGetCount(int* count) {
    *count = card_count();
    return success();
}
int cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
    memset(uuid, 0, 16);
    uuid[0] = (unsigned char)(1 + device);
    return success();
}
int cuDeviceGetName(char* name, int length, int) {
    snprintf(name, length, "emulated on the processor, no card");
    return success();
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
    // Multiprocessors (16), compute capability 9.0 (75, 76), memory pools (115).
    *value = attribute == 16 ? 2 : attribute == 75 ? 9 : attribute == 115 ? 1 : 0;
    return success();
}
int cuDevicePrimaryCtxRetain(void** context, int) {
    *context = &context_of_all;
    return success();
}
int cuDevicePrimaryCtxRelease_v2(int) { return success(); }
int cuCtxGetCurrent(void** context) {
    *context = &context_of_all;
    return 0;
}
int cuCtxSetCurrent(void*) { return 0; }
int cuGetErrorString(int error, const char** text) {
    *text = error == OUT_OF_MEMORY ? "out of memory"
            : error == 101         ? "invalid device ordinal"
            : error == 700         ? "an illegal memory access was encountered"
            : error == graphs::UNSUPPORTED ? "operation not permitted when stream is capturing"
                                   : "refused";
    return 0;
}
int cuGetErrorName(int error, const char** text) { return cuGetErrorString(error, text); }
int cuStreamSynchronize(void* stream) {
    sums::settle();
    return graphs::is_capturing(stream) ? graphs::UNSUPPORTED : success();
}
int cuStreamQuery(void*) { return sums::is_busy() ? 600 : success(); }
int cuDeviceGetDefaultMemPool(void** pool, int) {
    *pool = &context_of_all;
    return success();
}
int cuMemPoolSetAttribute(void*, int, void*) { return success(); }
static size_t used_bytes = 0, most_bytes = 0;
int cuMemPoolGetAttribute(void*, int attribute, void* value) {
    // The most that was held: 6.
    *(uint64_t*)value = attribute == 6 ? most_bytes : 0;
    return success();
}

// ---- memory

struct Room {
    char* base;
    size_t mapped;
};
static std::map<uint64_t, Room> rooms;
static size_t memory_bytes() {
    static const char* asked = getenv("EMULATED_MEMORY_MIB");
    static size_t bytes = (size_t)(asked ? atoi(asked) : 4096) << 20;
    return bytes;
}

int cuMemAllocAsync(uint64_t* address, size_t bytes, void* stream) {
    if (graphs::is_capturing(stream)) {
        return graphs::UNSUPPORTED;
    }
    std::lock_guard<std::recursive_mutex> guard(lock);
    const size_t page = 4096;
    size_t padded = (bytes + 15) / 16 * 16;
    size_t mapped = (padded + page - 1) / page * page + page;
    int error;
    if (broken || faults("cuMemAllocAsync", &error)) {
        return broken ? broken : error;
    }
    if (used_bytes + mapped > memory_bytes()) {
        return OUT_OF_MEMORY;
    }
    void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return OUT_OF_MEMORY;
    }
    mprotect((char*)base + mapped - page, page, PROT_NONE);
    char* start = (char*)base + mapped - page - padded;
    memset(base, 0xff, mapped - page);
    *address = (uint64_t)start;
    rooms[*address] = Room{(char*)base, mapped};
    used_bytes += mapped;
    most_bytes = std::max(most_bytes, used_bytes);
    return success();
}
int cuMemFreeAsync(uint64_t address, void* stream) {
    if (graphs::is_capturing(stream)) {
        return graphs::UNSUPPORTED;
    }
    sums::settle();
    std::lock_guard<std::recursive_mutex> guard(lock);
    auto found = rooms.find(address);
    if (found == rooms.end()) {
        return 1;
    }
    munmap(found->second.base, found->second.mapped);
    used_bytes -= found->second.mapped;
    rooms.erase(found);
    return success();
}
int cuMemGetInfo_v2(size_t* available, size_t* total) {
    *available = memory_bytes() - used_bytes;
    *total = memory_bytes();
    return success();
}
int cuMemsetD8Async(uint64_t address, unsigned char value, size_t bytes, void* stream) {
    return graphs::put(stream, "cuMemsetD8Async", [=] {
        sums::settle();
        memset((void*)address, value, bytes);
        return success();
    });
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
    if (graphs::is_capturing(stream)) {
        return graphs::UNSUPPORTED;
    }
    sums::settle();
    memcpy((void*)to, from, bytes);
    return success();
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
    if (graphs::is_capturing(stream)) {
        return graphs::UNSUPPORTED;
    }
    sums::settle();
    memcpy(to, (void*)from, bytes);
    return success();
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
    return graphs::put(stream, "cuMemcpyDtoDAsync", [=] {
        sums::settle();
        memmove((void*)to, (void*)from, bytes);
        return success();
    });
}

// ---- kernels

struct Function {
    void (*launch)(void**);
    std::string name;
    int parameters;
    size_t shared_max = 48 << 10;
};
struct Module {
    void* library;
    std::vector<Function*> functions;
};

static std::string scratch_path(const char* suffix) {
    static int count = 0;
    const char* folder = getenv("TMPDIR");
    std::ostringstream path;
    path << (folder ? folder : "/tmp") << "/emulated-" << getpid() << "-" << count++ << suffix;
    return path.str();
}

// The image is its length and the bytes of a shared object.
int cuModuleLoadData(void** module, const void* image) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    uint64_t length;
    memcpy(&length, image, 8);
    std::string path = scratch_path(".so");
    std::ofstream(path, std::ios::binary).write((const char*)image + 8, length);
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    unlink(path.c_str());
    if (!library) {
        fprintf(stderr, "emulator: %s\n", dlerror());
        return 200;
    }
    *(Emulated**)dlsym(library, "emulated") = &emulated;
    *module = new Module{library, {}};
    return success();
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
    void* launch = dlsym(((Module*)module)->library, (std::string("launch_") + name).c_str());
    void* count = dlsym(((Module*)module)->library, (std::string("count_") + name).c_str());
    if (!launch || !count) {
        return 500;
    }
    *function = new Function{(void (*)(void**))launch, name, *(int*)count};
    return success();
}
int cuModuleUnload(void*) { return success(); }
int cuFuncSetAttribute(void* function, int, int value) {
    // 99 KiB is what every card from compute capability 8.0 on has.
    if (value > 99 << 10) {
        return 1;
    }
    ((Function*)function)->shared_max = value;
    return success();
}

static Function* current;
static void** arguments;
static void body() { current->launch(arguments); }
static void enter(int index) {
    emulated.thread = Index3{index % emulated.block_size.x, index / emulated.block_size.x, 0};
}

struct Shape {
    Index3 grid, block;
    unsigned shared;
};

// Runs a kernel, whose arguments have 8 bytes each.
static int run_kernel(Function* function, Shape shape, std::vector<uint64_t> values) {
    sums::settle();
    std::lock_guard<std::recursive_mutex> guard(lock);
    static bool backwards = getenv("EMULATED_BACKWARDS") != nullptr;
    static std::vector<float> memory((99 << 10) / 4);
    std::vector<void*> pointers;
    for (uint64_t& value : values) {
        pointers.push_back(&value);
    }
    current = function;
    arguments = pointers.data();
    if (broken) {
        return broken;
    }
    int error;
    if (faults(current->name, &error)) {
        broken = error;
        return 0;
    }
    int count = shape.block.x * shape.block.y * shape.block.z;
    emulated.block_size = shape.block;
    emulated.grid_size = shape.grid;
    emulated.barrier = fibers::barrier;
    emulated.post = fibers::post;
    // The end of what was asked for is the end of the memory.
    emulated.shared = memory.data() + memory.size() - shape.shared / 4;
    for (unsigned z = 0; z < shape.grid.z; ++z) {
        for (unsigned y = 0; y < shape.grid.y; ++y) {
            for (unsigned x = 0; x < shape.grid.x; ++x) {
                emulated.block = Index3{x, y, z};
                memset(emulated.shared, 0xff, shape.shared);
                fibers::run(count, body, enter, backwards);
            }
        }
    }
    return success();
}

// `kernel` gives each argument 8 bytes, whatever its type.
int cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                   void* stream, void** parameters, void**) {
    Function* function = (Function*)handle;
    int count = block_x * block_y * block_z;
    if (count == 0 || count > 1024 || grid_x == 0 || grid_y == 0 || grid_z == 0 ||
        grid_y > 65535 || grid_z > 65535 || shared > function->shared_max || shared % 4 != 0) {
        return 1;
    }
    std::vector<uint64_t> values;
    for (int i = 0; i < function->parameters; ++i) {
        values.push_back(*(uint64_t*)parameters[i]);
    }
    Shape shape{Index3{grid_x, grid_y, grid_z}, Index3{block_x, block_y, block_z}, shared};
    return graphs::put(stream, function->name, [=] { return run_kernel(function, shape, values); });
}

// ---- the compiler of kernels

struct Source {
    std::string text, image, log;
};

int nvrtcVersion(int* major, int* minor) {
    *major = *minor = 0;
    return success();
}
int nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*,
                       const char* const*) {
    *program = new Source{source, "", ""};
    return success();
}
int nvrtcDestroyProgram(void** program) {
    delete (Source*)*program;
    return success();
}

// For each kernel a function that takes its arguments as cuLaunchKernel is given them.
static std::string launchers(const std::string& text) {
    std::ostringstream out;
    size_t at = 0;
    while ((at = text.find("__global__ void", at)) != std::string::npos) {
        at += strlen("__global__ void");
        size_t bounds = text.find("__launch_bounds__", at), open = text.find('(', at);
        if (bounds != std::string::npos && bounds < open) {
            at = text.find(')', at) + 1;
            open = text.find('(', at);
        }
        std::string name = text.substr(at, open - at);
        name.erase(std::remove_if(name.begin(), name.end(), isspace), name.end());
        size_t close = text.find(')', open);
        std::stringstream list(text.substr(open + 1, close - open - 1));
        out << "extern \"C\" void launch_" << name << "(void** p) { " << name << "(";
        std::string parameter;
        int i = 0;
        for (; std::getline(list, parameter, ','); ++i) {
            std::string kind = parameter.substr(0, parameter.find_last_of(" *&") + 1);
            out << (i ? ", " : "") << "*(" << kind << "*)p[" << i << "]";
        }
        out << "); }\nextern \"C\" int count_" << name << " = " << i << ";\n";
    }
    return out.str();
}

int nvrtcCompileProgram(void* program, int, const char* const*) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    Source* source = (Source*)program;
    std::string text = scratch_path(".cpp"), object = scratch_path(".so"), log = text + ".log";
    const char* header = getenv("EMULATED_HEADER");
    std::ofstream(text) << "#include \"" << (header ? header : "device.h") << "\"\n"
                        << source->text << launchers(source->text);
    std::string command = "g++ -std=c++17 -O1 -shared -fPIC -w -U_FORTIFY_SOURCE " + text + " -o " +
                          object + " >" + log + " 2>&1";
    int failed = system(command.c_str());
    std::stringstream found, words;
    found << std::ifstream(object, std::ios::binary).rdbuf();
    words << std::ifstream(log).rdbuf();
    uint64_t length = found.str().size();
    source->image = std::string((const char*)&length, 8) + found.str();
    source->log = words.str();
    for (const std::string& path : {text, object, log}) {
        unlink(path.c_str());
    }
    return failed ? 6 : success();
}
int nvrtcGetCUBINSize(void* program, size_t* size) {
    *size = ((Source*)program)->image.size();
    return success();
}
int nvrtcGetCUBIN(void* program, char* image) {
    const std::string& from = ((Source*)program)->image;
    memcpy(image, from.data(), from.size());
    return success();
}
int nvrtcGetProgramLogSize(void* program, size_t* size) {
    *size = ((Source*)program)->log.size() + 1;
    return success();
}
int nvrtcGetProgramLog(void* program, char* log) {
    strcpy(log, ((Source*)program)->log.c_str());
    return success();
}

// ---- matrix products

struct Layout {
    int kind;
    uint64_t rows, columns;
    int64_t stride;
};
struct Product {
    int transposed[2] = {0, 0};
};

int cublasLtCreate(void** handle) {
    *handle = &context_of_all;
    return success();
}
int cublasLtDestroy(void*) { return success(); }
int cublasLtMatrixLayoutCreate(void** layout, int kind, uint64_t rows, uint64_t columns,
                               int64_t stride) {
    *layout = new Layout{kind, rows, columns, stride};
    return success();
}
int cublasLtMatrixLayoutDestroy(void* layout) {
    delete (Layout*)layout;
    return success();
}
int cublasLtMatmulDescCreate(void** product, int compute, int scale) {
    *product = new Product;
    // float32 throughout, without TF32.
    return compute == 68 && scale == 0 ? 0 : 7;
}
int cublasLtMatmulDescDestroy(void* product) {
    delete (Product*)product;
    return success();
}
int cublasLtMatmulDescSetAttribute(void* product, int attribute, const void* value, size_t) {
    if (attribute != 3 && attribute != 4) {
        return 7;
    }
    ((Product*)product)->transposed[attribute - 3] = *(const int*)value;
    return success();
}
int cublasLtMatmulPreferenceCreate(void** preference) {
    *preference = &context_of_all;
    return success();
}
int cublasLtMatmulPreferenceDestroy(void*) { return success(); }
int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return success(); }
// The result is an algorithm of 64 bytes, the bytes of workspace, a state, and more.
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int,
                                   void* result, int* count) {
    memset(result, 0, 64 + 8 + 4 + 4 + 16);
    *count = 1;
    return success();
}

static float entry(const void* at, const Layout* layout, int transposed, uint64_t i, uint64_t j) {
    uint64_t index = transposed ? j + i * layout->stride : i + j * layout->stride;
    if (layout->kind == 0) {
        return ((const float*)at)[index];
    }
    uint32_t bits = (uint32_t)((const uint16_t*)at)[index] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static int multiply(Product product, float alpha, const void* a, Layout a_layout, const void* b,
                    Layout b_layout, float beta, void* d, Layout d_layout) {
    const int* turned = product.transposed;
    uint64_t rows = d_layout.rows, columns = d_layout.columns;
    uint64_t inner = turned[0] ? a_layout.rows : a_layout.columns;
    std::vector<float> left(rows * inner);
    for (uint64_t i = 0; i < rows; ++i) {
        for (uint64_t k = 0; k < inner; ++k) {
            left[i * inner + k] = entry(a, &a_layout, turned[0], i, k);
        }
    }
    std::vector<float> right(inner);
    for (uint64_t j = 0; j < columns; ++j) {
        for (uint64_t k = 0; k < inner; ++k) {
            right[k] = entry(b, &b_layout, turned[1], k, j);
        }
        for (uint64_t i = 0; i < rows; ++i) {
            double sum = 0.0;
            for (uint64_t k = 0; k < inner; ++k) {
                sum += (double)left[i * inner + k] * right[k];
            }
            float* to = (float*)d + i + j * d_layout.stride;
            *to = (float)(alpha * sum) + (beta != 0.0f ? beta * *to : 0.0f);
        }
    }
    return success();
}

int cublasLtMatmul(void*, void* product, const float* alpha, const void* a, Layout* a_layout,
                   const void* b, Layout* b_layout, const float* beta, const void* c, Layout* c_layout,
                   void* d, Layout* d_layout, const void*, void*, size_t, void* stream) {
    const int* turned = ((Product*)product)->transposed;
    uint64_t rows = d_layout->rows, columns = d_layout->columns;
    uint64_t inner = turned[0] ? a_layout->rows : a_layout->columns;
    bool fits = (turned[0] ? a_layout->columns : a_layout->rows) == rows &&
                (turned[1] ? b_layout->rows : b_layout->columns) == columns &&
                (turned[1] ? b_layout->columns : b_layout->rows) == inner;
    for (const Layout* layout : {a_layout, b_layout, c_layout, d_layout}) {
        fits = fits && layout->stride >= (int64_t)layout->rows;
    }
    if (!fits || d_layout->kind != 0 || a_layout->kind != b_layout->kind || c != d) {
        return 7;
    }
    // A graph holds what the pointers of the call point at.
    auto run = [=, p = *(Product*)product, by = *alpha, more = *beta, of_a = *a_layout,
                of_b = *b_layout, of_d = *d_layout] {
        return multiply(p, by, a, of_a, b, of_b, more, d, of_d);
    };
    return graphs::put(stream, "cublasLtMatmul", run);
}

}  // extern "C"
