//! The `Sockets` port as a list that records every call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use durable_streams::object::live::{Park, Sockets};
use durable_streams::protocol::bridge::{Attachment, Channel};

/// A socket, numbered in order of acceptance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SocketId(usize);

/// The object's sockets. Like hibernatable ones, they survive the loss of the object's memory.
#[derive(Default)]
pub(crate) struct HostSockets {
    sockets: RefCell<Vec<HostSocket>>,
    frames_made: Cell<usize>,
    /// The number of frames sent and sockets closed.
    told: Cell<usize>,
    /// Additional sockets that are only counted, so that a test reaches the limit cheaply.
    pub(crate) crowd: Cell<usize>,
}

struct HostSocket {
    tag: String,
    attachment: String,
    frames: Vec<Rc<[u8]>>,
    closed: Option<u16>,
    /// The Worker has closed its end.
    gone: bool,
}

impl HostSockets {
    /// Accepts a live reader in the form that the platform stores: a tag and a text.
    pub(crate) fn accept(&self, park: &Park) -> SocketId {
        let mut sockets = self.sockets.borrow_mut();
        sockets.push(HostSocket {
            tag: park.channel.tag(),
            attachment: serde_json::to_string(&park.attachment).unwrap(),
            frames: park.first_frame.as_deref().map(Rc::from).into_iter().collect(),
            closed: None,
            gone: false,
        });
        SocketId(sockets.len() - 1)
    }

    /// The `n`-th frame sent to the socket.
    pub(crate) fn frame_at(&self, socket: SocketId, n: usize) -> Option<Rc<[u8]>> {
        self.sockets.borrow()[socket.0].frames.get(n).cloned()
    }

    /// The code with which the object closed the socket.
    pub(crate) fn close_code(&self, socket: SocketId) -> Option<u16> {
        self.sockets.borrow()[socket.0].closed
    }

    /// Closes the Worker's end.
    pub(crate) fn drop_socket(&self, socket: SocketId) {
        self.sockets.borrow_mut()[socket.0].gone = true;
    }

    /// The number of frames made since the last call.
    pub(crate) fn take_frames_made(&self) -> usize {
        self.frames_made.take()
    }

    /// The number of frames sent to readers and sockets closed.
    pub(crate) fn told(&self) -> usize {
        self.told.get()
    }

    fn open(&self, mut wanted: impl FnMut(&HostSocket) -> bool) -> Vec<SocketId> {
        let sockets = self.sockets.borrow();
        let open = sockets.iter().enumerate().filter(|(_, socket)| !socket.gone && socket.closed.is_none());
        open.filter(|(_, socket)| wanted(socket)).map(|(index, _)| SocketId(index)).collect()
    }
}

impl Sockets for HostSockets {
    type Socket = SocketId;
    type Frame = Rc<[u8]>;

    fn count(&self) -> usize {
        self.open(|_| true).len() + self.crowd.get()
    }

    fn connected(&self, channel: Channel) -> Vec<SocketId> {
        let tag = channel.tag();
        self.open(|socket| socket.tag == tag)
    }

    fn attachment(&self, socket: &SocketId) -> Attachment {
        serde_json::from_str(&self.sockets.borrow()[socket.0].attachment).unwrap()
    }

    fn frame(&self, bytes: &[u8]) -> Rc<[u8]> {
        self.frames_made.set(self.frames_made.get() + 1);
        Rc::from(bytes)
    }

    fn send(&self, socket: &SocketId, frame: &Rc<[u8]>) {
        self.told.set(self.told.get() + 1);
        let mut sockets = self.sockets.borrow_mut();
        let socket = &mut sockets[socket.0];
        assert!(socket.closed.is_none(), "sent over a closed socket");
        socket.frames.push(Rc::clone(frame));
    }

    fn close(&self, socket: &SocketId, code: u16) {
        self.told.set(self.told.get() + 1);
        self.sockets.borrow_mut()[socket.0].closed = Some(code);
    }
}
