//! Repeated work as one launch of a CUDA graph.
//!
//! Each turn says what it does, and nothing is done until it has. A turn that does what the last
//! one did is captured; what was captured is launched at once; any other is queued call by call.
//! So a graph is made only where the next turn can use it, and nothing that changes is missed:
//! addresses, shapes and numbers are compared, and tables alone may hold other values.

use std::mem::MaybeUninit;
use std::sync::Arc;

use cudarc::driver::sys::{
    CUgraph, CUgraphExec, CUgraphExecUpdateResultInfo, CUgraphInstantiate_flags, CUresult,
    CUstreamCaptureMode, cuGraphExecUpdate_v2,
};
use cudarc::driver::{CudaStream, result};

use super::Cuda;
use super::buffer::bound;
use super::fault::done;
use super::listing::{Listed, Work, list};
use super::room::Room;
use super::table::Places;
use crate::repeated::Dispatch;

/// [`crate::Repeated`].
pub(crate) struct Turns {
    cuda: Cuda,
    /// Where turns are captured, so that what other threads queue is not.
    capturing: Arc<CudaStream>,
    room: Arc<Room>,
    places: Places,
    /// The last turn, unless it was the graph's.
    last: Vec<Work>,
    graph: Option<Graph>,
}

/// A turn that was captured.
struct Graph {
    work: Vec<Work>,
    executable: CUgraphExec,
    /// Whose context it is of.
    stream: Arc<CudaStream>,
}

impl Turns {
    pub(crate) fn new(cuda: &Cuda) -> Turns {
        let capturing = cuda.card.stream.context().new_stream();
        Turns {
            cuda: cuda.clone(),
            capturing: done("cuStreamCreate", capturing),
            room: Room::new(),
            places: Places::default(),
            last: Vec::new(),
            graph: None,
        }
    }

    /// [`crate::Repeated::turn`].
    pub(crate) fn turn(&mut self, work: impl FnOnce()) -> Dispatch {
        let stream = Arc::clone(&self.cuda.card.stream);
        let Listed { work, left } = list(&stream, &self.room, &mut self.places, work);
        let graph = self.graph.as_ref();
        let dispatch = if graph.is_some_and(|graph| graph.work == work) {
            Dispatch::Replayed
        } else if self.last == work {
            self.last.clear();
            self.capture(work)
        } else {
            start(&work, &stream);
            self.last = work;
            Dispatch::Eager
        };
        if let Some(graph) = &self.graph
            && dispatch != Dispatch::Eager
        {
            // SAFETY: what it works on is alive: its work is that of this turn.
            let launched = unsafe { result::graph::launch(graph.executable, bound(&stream)) };
            done("cuGraphLaunch", launched);
        }
        for block in left {
            block.give(&stream);
        }
        dispatch
    }

    /// Makes a graph of this work, out of the last one where that has the same nodes.
    fn capture(&mut self, work: Vec<Work>) -> Dispatch {
        let captured = captured(&self.capturing, &work);
        let graph = self.graph.as_mut();
        let updated = graph.filter(|graph| update(graph.executable, captured));
        let dispatch = if let Some(graph) = updated {
            graph.work = work;
            Dispatch::Updated
        } else {
            self.graph = Some(Graph::new(&self.cuda.card.stream, captured, work));
            Dispatch::Captured
        };
        // SAFETY: the graph was made by the capture, and an executable is a copy of it.
        done("cuGraphDestroy", unsafe {
            result::graph::destroy(captured)
        });
        dispatch
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.room.close(&self.cuda.card.stream);
    }
}

impl Graph {
    fn new(stream: &Arc<CudaStream>, captured: CUgraph, work: Vec<Work>) -> Graph {
        // SAFETY: the graph was made by a capture.
        let executable =
            unsafe { result::graph::instantiate(captured, CUgraphInstantiate_flags(0)) };
        Graph {
            work,
            executable: done("cuGraphInstantiate", executable),
            stream: Arc::clone(stream),
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // An error here was that of an earlier call, which has said so.
        let _ = self.stream.context().bind_to_thread();
        // SAFETY: it was made in `new` and is destroyed once; the driver keeps it until its
        // launches are done.
        let _ = unsafe { result::graph::exec_destroy(self.executable) };
    }
}

fn start(work: &[Work], stream: &CudaStream) {
    let bound = bound(stream);
    for work in work {
        work.start(bound);
    }
}

/// The calls of this work as a graph. None of them is done.
fn captured(stream: &CudaStream, work: &[Work]) -> CUgraph {
    let bound = bound(stream);
    // Relaxed: stricter modes forbid what cuBLASLt or another thread may do beside it.
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
    // SAFETY: the stream is of captures alone.
    let begun = unsafe { result::stream::begin_capture(bound, mode) };
    done("cuStreamBeginCapture", begun);
    start(work, stream);
    // SAFETY: the capture was begun above.
    let ended = unsafe { result::stream::end_capture(bound) };
    done("cuStreamEndCapture", ended)
}

/// Whether the executable graph now does what was captured; where not, it is as before.
fn update(executable: CUgraphExec, captured: CUgraph) -> bool {
    let mut found = MaybeUninit::<CUgraphExecUpdateResultInfo>::zeroed();
    // SAFETY: both are alive; the call fills in what it found, which nobody reads.
    let updated = unsafe { cuGraphExecUpdate_v2(executable, captured, found.as_mut_ptr()) };
    let is_refused = updated == CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    if !is_refused {
        done("cuGraphExecUpdate", updated.result());
    }
    !is_refused
}
