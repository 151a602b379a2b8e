// Streams that are captured and graphs that are launched, of a card made of the processor.
//
// A call on a stream that is being captured is listed in place of being done. One that a graph of
// `kernel` must not hold is refused: it waits, copies from or to the host, or asks for memory.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace graphs {

struct Node {
    std::string kind;
    std::function<int()> run;
};
typedef std::vector<Node> Graph;
struct Stream {
    Graph* captured;
};
static const int UNSUPPORTED = 900, UPDATE_FAILURE = 910;

static bool is_capturing(void* stream) { return ((Stream*)stream)->captured; }

// Does a call, or lists it where its stream is being captured.
static int put(void* stream, const std::string& kind, std::function<int()> run) {
    if (!is_capturing(stream)) {
        return run();
    }
    ((Stream*)stream)->captured->push_back(Node{kind, run});
    return 0;
}

static bool same_nodes(const Graph& a, const Graph& b) {
    bool same = a.size() == b.size();
    for (size_t i = 0; same && i < a.size(); ++i) {
        same = a[i].kind == b[i].kind;
    }
    return same;
}

}  // namespace graphs

extern "C" {

int cuStreamCreate(void** stream, unsigned) {
    *stream = new graphs::Stream{nullptr};
    return 0;
}
int cuStreamDestroy_v2(void* stream) {
    delete (graphs::Stream*)stream;
    return 0;
}
int cuStreamBeginCapture_v2(void* stream, int) {
    if (graphs::is_capturing(stream)) {
        return 1;
    }
    ((graphs::Stream*)stream)->captured = new graphs::Graph;
    return 0;
}
int cuStreamEndCapture(void* stream, void** graph) {
    *graph = ((graphs::Stream*)stream)->captured;
    ((graphs::Stream*)stream)->captured = nullptr;
    return *graph ? 0 : 1;
}
int cuGraphInstantiateWithFlags(void** executable, void* graph, uint64_t) {
    *executable = new graphs::Graph(*(graphs::Graph*)graph);
    return 0;
}
// As NVIDIA's, it takes the same nodes with other arguments; unlike it, no other function.
int cuGraphExecUpdate_v2(void* executable, void* graph, void*) {
    graphs::Graph &own = *(graphs::Graph*)executable, &other = *(graphs::Graph*)graph;
    if (!graphs::same_nodes(own, other)) {
        return graphs::UPDATE_FAILURE;
    }
    own = other;
    return 0;
}
int cuGraphLaunch(void* executable, void* stream) {
    if (graphs::is_capturing(stream)) {
        return graphs::UNSUPPORTED;
    }
    for (const graphs::Node& node : *(graphs::Graph*)executable) {
        if (int error = node.run()) {
            return error;
        }
    }
    return 0;
}
int cuGraphExecDestroy(void* executable) {
    delete (graphs::Graph*)executable;
    return 0;
}
int cuGraphDestroy(void* graph) {
    delete (graphs::Graph*)graph;
    return 0;
}

}  // extern "C"
