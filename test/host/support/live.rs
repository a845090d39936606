//! Live clients: the Worker's state machines (`src/edge/live/`) without the platform, each with a client
//! behind it.

use std::cell::Cell;
use std::rc::Rc;

use durable_streams::edge::live::long_poll::{LongPoll as PollAtEdge, PollStep};
use durable_streams::edge::live::sse::{SseEnds, SseResponse, SseStep};
use durable_streams::edge::live::{LiveAnswer, Room};
use durable_streams::edge::target::{LiveUrl, Target};
use durable_streams::protocol::Millis;
use durable_streams::protocol::bridge::FRAME_HEAD_BYTES;
use durable_streams::protocol::sse::HEARTBEAT;

use super::event_source::{self, Event};
use super::http::{Request, Response};
use super::sockets::SocketId;
use super::world::{Outcome, World};

/// Longer than any test takes.
const FOR_EVER: Millis = 1 << 52;

/// The limits of an SSE response that only its stream ends.
const ENDLESS: SseEnds =
    SseEnds { deadline: FOR_EVER, until: FOR_EVER, stall: FOR_EVER, cpu_limit: FOR_EVER / 1000 };

/// The room for a client's unread events. The test sets how much is left.
struct HostRoom {
    left: Rc<Cell<usize>>,
    taken: usize,
}

impl Room for HostRoom {
    fn resize(&mut self, bytes: usize) -> bool {
        let all = self.left.get() + self.taken;
        if bytes <= all {
            self.left.set(all - bytes);
            self.taken = bytes;
        }
        bytes <= all
    }

    fn renew(&mut self) {}

    fn release(&mut self) {
        self.left.set(self.left.get() + self.taken);
        self.taken = 0;
    }
}

/// An SSE response and the events received from it.
pub(crate) struct SseClient {
    request: Request,
    /// `None` if the object's answer is the whole response.
    response: Option<SseResponse<HostRoom>>,
    deadline: Millis,
    head: Response,
    /// The object's last answer, if it was a part of the stream.
    part: Option<Response>,
    /// The socket, and how many of its frames were received.
    socket: Option<(SocketId, usize)>,
    /// The time until which the state machine waits if nothing happens.
    waits: Option<Millis>,
    /// Whether the client reads the events that were written.
    pub(crate) reads: bool,
    unread: usize,
    /// The isolate's room left for unread events.
    pub(crate) room: Rc<Cell<usize>>,
    /// The bytes that the client has received.
    pub(crate) text: Vec<u8>,
}

impl SseClient {
    /// Connects. Returns the response if it is not SSE.
    pub(crate) fn connect(world: &mut World, request: Request) -> Result<SseClient, Response> {
        SseClient::connect_within(world, request, ENDLESS)
    }

    /// Connects with limits at which the response ends.
    pub(crate) fn connect_within(
        world: &mut World,
        request: Request,
        ends: SseEnds,
    ) -> Result<SseClient, Response> {
        let (answered, source) = ask(world, &request);
        let room = Rc::new(Cell::new(usize::MAX >> 1));
        let taken = HostRoom { left: Rc::clone(&room), taken: 0 };
        let (socket, part, head) = match source {
            Outcome::Parked(socket, head) => (Some((socket, 0)), None, head),
            Outcome::Answered(part) => (None, Some(part.clone()), part),
        };
        let response = SseResponse::begin(answered, ends, taken, world.now);
        if response.is_none() && head.status != 200 {
            return Err(head);
        }
        let (deadline, text) = (ends.deadline, Vec::new());
        let (reads, unread) = (true, 0);
        Ok(SseClient {
            request,
            response,
            deadline,
            head,
            part,
            socket,
            waits: None,
            reads,
            unread,
            room,
            text,
        })
    }

    /// Connects, and receives everything that is available.
    #[track_caller]
    pub(crate) fn open(world: &mut World, request: &str) -> SseClient {
        let mut client = SseClient::connect(world, Request::parse(request)).unwrap();
        client.pump(world);
        client
    }

    /// The response's status and headers.
    pub(crate) fn head(&self) -> &Response {
        &self.head
    }

    /// The time at which the response ends at the latest.
    pub(crate) fn deadline(&self) -> Millis {
        self.deadline
    }

    pub(crate) fn is_over(&self) -> bool {
        self.response.as_ref().map_or(self.part.is_none(), SseResponse::is_over)
    }

    /// The socket that is open now.
    pub(crate) fn socket(&self) -> Option<SocketId> {
        self.socket.map(|(socket, _)| socket)
    }

    /// Takes one step, and receives at most one part or frame. Returns `false` if nothing is left to do now.
    pub(crate) fn step(&mut self, world: &mut World) -> bool {
        let Some(response) = &mut self.response else {
            let whole = self.part.take();
            self.text.extend_from_slice(whole.as_ref().map_or(&[], |whole| &whole.body));
            return whole.is_some();
        };
        // Like the Worker, this requests the next step only after a wait, or if the machine does not wait.
        let waits = self.waits.filter(|until| response.is_waiting() && world.now < *until);
        let next = match (waits, self.socket) {
            (Some(until), Some(_)) => SseStep::Listen(until),
            (Some(until), None) => SseStep::Rest(until),
            (None, _) => response.next(world.now),
        };
        self.waits = match next {
            SseStep::Listen(until) | SseStep::Rest(until) => Some(until),
            SseStep::Ask(_) | SseStep::PassOn | SseStep::Heartbeat | SseStep::End(_) => None,
        };
        match next {
            SseStep::Ask(from) => {
                self.drop_socket(world);
                let mut request = self.request.clone();
                if let Some(from) = from {
                    request.headers.retain(|(name, _)| name != "last-event-id");
                    request.url = LiveUrl::of(&Target::of(&request.url)).from(from);
                }
                let (answered, source) = ask(world, &request);
                match source {
                    Outcome::Parked(socket, _) => self.socket = Some((socket, 0)),
                    Outcome::Answered(part) => self.part = Some(part),
                }
                self.tell(|response| response.answered(answered, world.now));
                true
            }
            SseStep::PassOn => {
                let body = self.part.take().expect("the object answered with a part").body;
                self.text.extend_from_slice(&body);
                let bytes = self.reads.then_some(body.len());
                self.tell(|response| response.passed_on(bytes));
                true
            }
            SseStep::Listen(_) => self.listen(world),
            SseStep::Heartbeat => {
                self.write(HEARTBEAT);
                true
            }
            SseStep::Rest(_) => {
                self.drop_socket(world);
                false
            }
            SseStep::End(_) => {
                self.drop_socket(world);
                false
            }
        }
    }

    fn listen(&mut self, world: &World) -> bool {
        let (socket, taken) = self.socket.expect("the object answered with a socket");
        if let Some(frame) = world.sockets.frame_at(socket, taken) {
            self.socket = Some((socket, taken + 1));
            let (head, events) = frame.split_at(FRAME_HEAD_BYTES);
            if self.tell(|response| response.frame(head, events.len())) {
                self.write(events);
            }
        } else if let Some(code) = world.sockets.close_code(socket) {
            self.tell(|response| response.closed(code));
            self.drop_socket(world);
        } else {
            return false;
        }
        if self.is_over() {
            self.drop_socket(world);
        }
        true
    }

    fn tell<T>(&mut self, tell: impl FnOnce(&mut SseResponse<HostRoom>) -> T) -> T {
        tell(self.response.as_mut().expect("the response has not ended"))
    }

    fn write(&mut self, events: &[u8]) {
        self.text.extend_from_slice(events);
        self.unread += 1;
        if self.reads {
            self.read();
        }
    }

    /// Has the client read everything that was written.
    pub(crate) fn read(&mut self) {
        for _ in 0..std::mem::take(&mut self.unread) {
            self.tell(SseResponse::read);
        }
    }

    fn drop_socket(&mut self, world: &World) {
        if let Some((socket, _)) = self.socket.take() {
            world.sockets.drop_socket(socket);
        }
    }

    /// Receives everything that is available.
    pub(crate) fn pump(&mut self, world: &mut World) {
        while self.step(world) {}
    }

    /// Disconnects the client.
    pub(crate) fn disconnect(&mut self, world: &World) {
        if let Some(response) = &mut self.response {
            response.left();
        }
        self.drop_socket(world);
    }

    /// The events dispatched so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        event_source::parse(&self.text)
    }

    /// The events dispatched since the last call. A test that calls it after each step gets whole events.
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

fn ask(world: &mut World, request: &Request) -> (LiveAnswer, Outcome) {
    let outcome = world.send(request);
    let (has_socket, head) = match &outcome {
        Outcome::Parked(_, head) => (true, head),
        Outcome::Answered(response) => (false, response),
    };
    let header = |name: &str| head.header(name).map(str::to_owned);
    (LiveAnswer::of(head.status, has_socket, &header), outcome)
}

/// A waiting long-poll.
pub(crate) struct LongPoll {
    request: Request,
    poll: PollAtEdge,
    socket: SocketId,
    /// The object's last answer.
    asked: Response,
}

impl LongPoll {
    /// Sends a long-poll. Returns the response if it does not wait.
    pub(crate) fn ask(world: &mut World, request: Request) -> Result<LongPoll, Response> {
        let (answered, source) = ask(world, &request);
        let from = Target::of(&request.url).read_from();
        match (PollAtEdge::begin(answered, from, FOR_EVER), source) {
            (Some(poll), Outcome::Parked(socket, asked)) => Ok(LongPoll { request, poll, socket, asked }),
            (_, Outcome::Answered(asked)) => Err(asked),
            (None, Outcome::Parked(..)) => panic!("a parked long-poll has no offset"),
        }
    }

    /// Sends a long-poll that must wait.
    #[track_caller]
    pub(crate) fn park(world: &mut World, request: &str) -> LongPoll {
        LongPoll::ask(world, Request::parse(request)).unwrap_or_else(|response| panic!("{response:?}"))
    }

    pub(crate) fn socket(&self) -> SocketId {
        self.socket
    }

    pub(crate) fn waits_at(&self) -> String {
        self.poll.waits_at().to_string()
    }

    /// The response, if it has arrived.
    pub(crate) fn answer(&mut self, world: &mut World) -> Option<Response> {
        loop {
            match self.poll.next() {
                PollStep::Ask(offset) => {
                    let url = LiveUrl::of(&Target::of(&self.request.url)).from(offset);
                    let (answered, source) = ask(world, &Request { url, ..self.request.clone() });
                    self.poll.answered(answered);
                    self.asked = match source {
                        Outcome::Parked(socket, head) => {
                            self.socket = socket;
                            head
                        }
                        Outcome::Answered(response) => response,
                    };
                }
                PollStep::Wait(until) => {
                    let frame = world.sockets.frame_at(self.socket, 0);
                    let is_ended = frame.is_some() || world.sockets.close_code(self.socket).is_some();
                    if !is_ended && until > world.now {
                        return None;
                    }
                    world.sockets.drop_socket(self.socket);
                    match frame {
                        Some(frame) if self.poll.frame(&frame[..FRAME_HEAD_BYTES]) => {
                            return Some(Response::of_frame(&frame));
                        }
                        Some(_) => {}
                        None if is_ended => self.poll.ended(),
                        None => self.poll.timed_out(),
                    }
                }
                PollStep::Answer { .. } => return Some(self.asked.clone()),
                PollStep::NothingNew => {
                    return Some(Response { status: 204, ..self.asked.clone() });
                }
            }
        }
    }

    /// Lets the wait time out.
    pub(crate) fn time_out(mut self, world: &mut World) -> Response {
        world.sockets.drop_socket(self.socket);
        self.poll.timed_out();
        self.answer(world).unwrap()
    }
}
