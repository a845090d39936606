//! Live readers: the edge's state machines (`src/edge/live/`) without the platform, and the client behind them.

use std::cell::Cell;
use std::rc::Rc;

use durable_streams::edge::live::long_poll::{LongPoll as PollAtEdge, PollStep};
use durable_streams::edge::live::sse::{SseEnds, SseResponse, SseStep};
use durable_streams::edge::live::{Answered, Room};
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

/// An SSE response that only its stream ends.
const ENDLESS: SseEnds =
    SseEnds { deadline: FOR_EVER, until: FOR_EVER, stall: FOR_EVER, cpu_limit: FOR_EVER / 1000 };

/// The room that a client's unread events take, as far as the test leaves any.
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

/// An SSE response and what has come through it.
pub(crate) struct SseClient {
    request: Request,
    /// `None`: the object's answer is all of it.
    response: Option<SseResponse<HostRoom>>,
    deadline: Millis,
    head: Response,
    /// What the object answered last, if that was a part.
    part: Option<Response>,
    /// A socket, and how many of its frames were taken.
    socket: Option<(SocketId, usize)>,
    /// Until when the machine has it wait, if nothing happens.
    waits: Option<Millis>,
    /// Whether the client reads what is written.
    pub(crate) reads: bool,
    unread: usize,
    /// What the isolate has left for unread events.
    pub(crate) room: Rc<Cell<usize>>,
    /// What the client has received.
    pub(crate) text: Vec<u8>,
}

impl SseClient {
    /// Connects; the answer, if it is no stream of events.
    pub(crate) fn connect(world: &mut World, request: Request) -> Result<SseClient, Response> {
        SseClient::connect_within(world, request, ENDLESS)
    }

    /// Connects, for a response that ends.
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

    /// When the response ends, whatever happens.
    pub(crate) fn deadline(&self) -> Millis {
        self.deadline
    }

    pub(crate) fn is_over(&self) -> bool {
        self.response.as_ref().map_or(self.part.is_none(), SseResponse::is_over)
    }

    /// The socket it holds at this moment.
    pub(crate) fn socket(&self) -> Option<SocketId> {
        self.socket.map(|(socket, _)| socket)
    }

    /// Does one thing, and takes one part or frame at most; `false` when there is nothing to do now.
    pub(crate) fn step(&mut self, world: &mut World) -> bool {
        let Some(response) = &mut self.response else {
            let whole = self.part.take();
            self.text.extend_from_slice(whole.as_ref().map_or(&[], |whole| &whole.body));
            return whole.is_some();
        };
        // As the Worker does, it asks what is next only when it has waited or the machine waits no more.
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
                self.let_go(world);
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
                let body = self.part.take().expect("the object answered with it").body;
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
                self.let_go(world);
                false
            }
            SseStep::End(_) => {
                self.let_go(world);
                false
            }
        }
    }

    fn listen(&mut self, world: &World) -> bool {
        let (socket, taken) = self.socket.expect("the object answered with one");
        if let Some(frame) = world.sockets.frame_at(socket, taken) {
            self.socket = Some((socket, taken + 1));
            let (head, events) = frame.split_at(FRAME_HEAD_BYTES);
            if self.tell(|response| response.frame(head, events.len())) {
                self.write(events);
            }
        } else if let Some(code) = world.sockets.close_code(socket) {
            self.tell(|response| response.closed(code));
            self.let_go(world);
        } else {
            return false;
        }
        if self.is_over() {
            self.let_go(world);
        }
        true
    }

    fn tell<T>(&mut self, tell: impl FnOnce(&mut SseResponse<HostRoom>) -> T) -> T {
        tell(self.response.as_mut().expect("it goes on"))
    }

    fn write(&mut self, events: &[u8]) {
        self.text.extend_from_slice(events);
        self.unread += 1;
        if self.reads {
            self.read();
        }
    }

    /// The client reads all that was written.
    pub(crate) fn read(&mut self) {
        for _ in 0..std::mem::take(&mut self.unread) {
            self.tell(SseResponse::read);
        }
    }

    fn let_go(&mut self, world: &World) {
        if let Some((socket, _)) = self.socket.take() {
            world.sockets.drop_socket(socket);
        }
    }

    /// Takes all there is.
    pub(crate) fn pump(&mut self, world: &mut World) {
        while self.step(world) {}
    }

    /// The client goes away.
    pub(crate) fn disconnect(&mut self, world: &World) {
        if let Some(response) = &mut self.response {
            response.left();
        }
        self.let_go(world);
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

fn ask(world: &mut World, request: &Request) -> (Answered, Outcome) {
    let outcome = world.send(request);
    let (has_socket, head) = match &outcome {
        Outcome::Parked(_, head) => (true, head),
        Outcome::Answered(response) => (false, response),
    };
    let header = |name: &str| head.header(name).map(str::to_owned);
    (Answered::of(head.status, has_socket, &header), outcome)
}

/// A long-poll that waits.
pub(crate) struct LongPoll {
    request: Request,
    poll: PollAtEdge,
    socket: SocketId,
    /// What the object answered last.
    asked: Response,
}

impl LongPoll {
    /// Asks; the answer, if it comes at once.
    pub(crate) fn ask(world: &mut World, request: Request) -> Result<LongPoll, Response> {
        let (answered, source) = ask(world, &request);
        let from = Target::of(&request.url).read_from();
        match (PollAtEdge::begin(answered, from, FOR_EVER), source) {
            (Some(poll), Outcome::Parked(socket, asked)) => Ok(LongPoll { request, poll, socket, asked }),
            (_, Outcome::Answered(asked)) => Err(asked),
            (None, Outcome::Parked(..)) => panic!("a socket comes with an offset"),
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
        self.poll.waits_at().to_string()
    }

    /// The answer, if it has come.
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

    /// Time is up.
    pub(crate) fn time_out(mut self, world: &mut World) -> Response {
        world.sockets.drop_socket(self.socket);
        self.poll.timed_out();
        self.answer(world).unwrap()
    }
}
