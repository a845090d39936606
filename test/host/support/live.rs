//! Live readers: the edge's part in `src/cloudflare/worker/sse.rs` and `long_poll.rs`, without the platform, and the
//! client behind it.

use durable_streams::edge::gate::{Bridge, Gate};
use durable_streams::edge::route::live_url_from;
use durable_streams::protocol::bridge::{CLOSE_CATCH_UP, FRAME_HEAD_BYTES};
use durable_streams::protocol::offset::Offset;

use super::event_source::{self, Event};
use super::http::{Request, Response};
use super::sockets::SocketId;
use super::world::{Outcome, World};

/// An SSE response and what has come through it.
pub(crate) struct SseClient {
    request: Request,
    bridge: Bridge,
    source: Source,
    head: Response,
    /// What the client has received.
    pub(crate) text: Vec<u8>,
}

enum Source {
    /// A bounded part of the catch-up, not passed on yet.
    Part(Response),
    /// A socket, and how many of its frames were taken.
    Socket(SocketId, usize),
    /// The response has ended.
    Over,
}

impl SseClient {
    /// Connects; the answer, if it is no stream of events.
    pub(crate) fn connect(world: &mut World, request: Request) -> Result<SseClient, Response> {
        let (source, head) = source(world, &request)?;
        Ok(SseClient { request, bridge: Bridge::default(), source, head, text: Vec::new() })
    }

    /// Connects and takes all that is there.
    #[track_caller]
    pub(crate) fn open(world: &mut World, request: &str) -> SseClient {
        let mut client = SseClient::connect(world, Request::parse(request)).unwrap();
        client.pump(world);
        client
    }

    /// The response's headers.
    pub(crate) fn head(&self) -> &Response {
        &self.head
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.source, Source::Over)
    }

    /// The socket it holds at this moment.
    pub(crate) fn socket(&self) -> Option<SocketId> {
        match self.source {
            Source::Socket(socket, _) => Some(socket),
            Source::Part(_) | Source::Over => None,
        }
    }

    /// Takes one part or frame; `false` when there is none.
    pub(crate) fn step(&mut self, world: &mut World) -> bool {
        match std::mem::replace(&mut self.source, Source::Over) {
            Source::Over => false,
            Source::Part(part) => {
                self.text.extend_from_slice(&part.body);
                self.bridge = Bridge { passed: Offset::parse(part.next()) };
                if part.header("stream-closed").is_none() {
                    self.ask_again(world);
                }
                true
            }
            Source::Socket(socket, taken) => match world.sockets.frame_at(socket, taken) {
                Some(frame) => {
                    self.source = Source::Socket(socket, taken + 1);
                    self.take_frame(world, &frame);
                    true
                }
                None => self.look_for_the_end(world, socket, taken),
            },
        }
    }

    fn take_frame(&mut self, world: &mut World, frame: &[u8]) {
        match self.bridge.admit(&frame[..FRAME_HEAD_BYTES]) {
            Gate::Pass => self.text.extend_from_slice(&frame[FRAME_HEAD_BYTES..]),
            Gate::Skip => {}
            Gate::Gap => {
                self.disconnect(world);
                self.ask_again(world);
            }
        }
    }

    fn look_for_the_end(&mut self, world: &mut World, socket: SocketId, taken: usize) -> bool {
        match world.sockets.close_code(socket) {
            None => {
                self.source = Source::Socket(socket, taken);
                false
            }
            Some(CLOSE_CATCH_UP) => {
                world.sockets.drop_socket(socket);
                self.ask_again(world);
                true
            }
            Some(_) => {
                world.sockets.drop_socket(socket);
                true
            }
        }
    }

    fn ask_again(&mut self, world: &mut World) {
        let Some(passed) = self.bridge.passed else { return };
        let mut request = self.request.clone();
        request.headers.retain(|(name, _)| name != "last-event-id");
        request.url = live_url_from(&request.url, passed);
        if let Ok((source, _)) = source(world, &request) {
            self.source = source;
        }
    }

    /// Takes all there is.
    pub(crate) fn pump(&mut self, world: &mut World) {
        while self.step(world) {}
    }

    /// The client goes away.
    pub(crate) fn disconnect(&mut self, world: &World) {
        if let Some(socket) = self.socket() {
            world.sockets.drop_socket(socket);
        }
        self.source = Source::Over;
    }

    /// What was dispatched to the client so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        event_source::parse(&self.text)
    }

    /// What was dispatched since it was last asked; for clients that are asked after each step, because every step
    /// brings whole events.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        event_source::parse(&std::mem::take(&mut self.text))
    }

    /// The data of all data events so far.
    pub(crate) fn data(&self) -> Vec<String> {
        self.events().into_iter().filter(|event| event.name == "data").map(|event| event.data).collect()
    }

    /// The last control event.
    #[track_caller]
    pub(crate) fn control(&self) -> serde_json::Value {
        let events = self.events();
        let control = events.iter().rfind(|event| event.name == "control").expect("a control event came");
        serde_json::from_str(&control.data).unwrap()
    }
}

fn source(world: &mut World, request: &Request) -> Result<(Source, Response), Response> {
    match world.send(request) {
        Outcome::Parked(socket, head) => Ok((Source::Socket(socket, 0), head)),
        Outcome::Answered(part) if part.status == 200 => Ok((Source::Part(part.clone()), part)),
        Outcome::Answered(refused) => Err(refused),
    }
}

/// A long-poll that waits.
pub(crate) struct LongPoll {
    /// What the edge sends when a socket ends without the answer: the first request, from where it waits.
    again: Request,
    waits_at: Offset,
    socket: SocketId,
    nothing_new: Response,
}

impl LongPoll {
    /// Asks; the answer, if it comes at once.
    pub(crate) fn ask(world: &mut World, request: Request) -> Result<LongPoll, Response> {
        match world.send(&request) {
            Outcome::Answered(response) => Err(response),
            Outcome::Parked(socket, nothing_new) => {
                let waits_at = Offset::parse(nothing_new.next()).unwrap();
                let again = Request { url: live_url_from(&request.url, waits_at), ..request };
                Ok(LongPoll { again, waits_at, socket, nothing_new })
            }
        }
    }

    /// Asks where nothing is yet.
    #[track_caller]
    pub(crate) fn park(world: &mut World, request: &str) -> LongPoll {
        LongPoll::ask(world, Request::parse(request)).unwrap_or_else(|response| panic!("{response:?}"))
    }

    pub(crate) fn socket(&self) -> SocketId {
        self.socket
    }

    pub(crate) fn waits_at(&self) -> String {
        self.waits_at.to_string()
    }

    /// The answer, if it has come. A frame that does not begin where the client waits is no answer, and a socket
    /// that ends without one makes the edge ask again.
    pub(crate) fn answer(&mut self, world: &mut World) -> Option<Response> {
        let frame = world.sockets.frame_at(self.socket, 0);
        let mut gate = Bridge { passed: Some(self.waits_at) };
        if let Some(frame) = &frame
            && gate.admit(&frame[..FRAME_HEAD_BYTES]) == Gate::Pass
        {
            world.sockets.drop_socket(self.socket);
            return Some(Response::of_frame(frame));
        }
        if frame.is_none() {
            world.sockets.close_code(self.socket)?;
        }
        world.sockets.drop_socket(self.socket);
        match world.send(&self.again) {
            Outcome::Answered(response) => Some(response),
            Outcome::Parked(socket, nothing_new) => {
                (self.socket, self.nothing_new) = (socket, nothing_new);
                None
            }
        }
    }

    /// Time is up.
    pub(crate) fn time_out(self, world: &World) -> Response {
        world.sockets.drop_socket(self.socket);
        Response { status: 204, ..self.nothing_new }
    }
}
