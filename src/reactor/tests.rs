use std::io::{PipeWriter, Write, pipe};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

type ClerkEar = Ear<&'static str, &'static str>;

/// Writes down what it is called for. The job "stand still" does so until it is let go, and two others panic.
struct Clerk {
    ear: ClerkEar,
    done: Sender<&'static str>,
    go: Receiver<()>,
    panics_again: bool,
}

fn clerk() -> (impl FnOnce(ClerkEar) -> Clerk, Receiver<&'static str>, Sender<()>) {
    let ((done, heard), (go, wait)) = (mpsc::channel(), mpsc::channel());
    (move |ear| Clerk { ear, done, go: wait, panics_again: false }, heard, go)
}

impl Handler for Clerk {
    type Job = &'static str;
    type Timer = &'static str;

    fn ear(&mut self) -> &mut ClerkEar {
        &mut self.ear
    }

    fn on_job(&mut self, job: &'static str) {
        self.done.send(job).unwrap();
        match job {
            "stand still" => {
                self.ear.after(Duration::ZERO, "timer");
                self.go.recv().unwrap();
            }
            "panic" => panic!("as it was told"),
            "panic twice" => {
                self.panics_again = true;
                panic!("as it was told");
            }
            _ => {}
        }
    }

    fn on_ready(&mut self, _: Token, _: bool) {}

    fn on_due(&mut self, timer: &'static str) {
        self.done.send(timer).unwrap();
    }

    fn has_news(&self) -> bool {
        false
    }

    fn mark_news(&mut self) {}

    fn on_caught_up(&mut self) {}

    fn on_left(&mut self, job: &'static str) {
        self.done.send("left").unwrap();
        self.done.send(job).unwrap();
        assert_ne!(job, "panic", "as it was told");
    }

    fn on_stop(&mut self) {
        self.done.send("stop").unwrap();
    }

    fn on_panic(&mut self) {
        self.done.send("it panicked").unwrap();
        assert!(!self.panics_again, "as it was told");
    }
}

#[test]
fn what_takes_long_comes_last_and_keeps_its_order() {
    let (clerk, heard, go) = clerk();
    let reactor = Reactor::start(clerk).unwrap();
    reactor.send(Priority::Low, "stand still").unwrap();
    assert_eq!(heard.recv(), Ok("stand still"));
    for (priority, job) in [(Priority::Low, "low"), (Priority::Low, "lower"), (Priority::High, "high")] {
        reactor.send(priority, job).unwrap();
    }
    go.send(()).unwrap();
    let order: Vec<_> = heard.iter().take(4).collect();
    assert_eq!(order, ["high", "timer", "low", "lower"]);
    drop(reactor);
    assert_eq!(heard.iter().collect::<Vec<_>>(), ["stop"]);
}

#[test]
fn what_has_had_no_turn_before_the_stop_is_handed_over_in_its_order() {
    let (clerk, heard, go) = clerk();
    let reactor = Reactor::start(clerk).unwrap();
    reactor.send(Priority::Low, "stand still").unwrap();
    assert_eq!(heard.recv(), Ok("stand still"));
    for (priority, job) in [(Priority::Low, "low"), (Priority::High, "panic"), (Priority::High, "high")] {
        reactor.send(priority, job).unwrap();
    }
    let mailbox = Mailbox::clone(&reactor.mailbox);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(reactor));
        while !mailbox.0.lock().stopping {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
    });
    let order: Vec<_> = heard.iter().collect();
    assert_eq!(order, ["left", "panic", "it panicked", "left", "high", "left", "low", "stop"]);
    assert_eq!(mailbox.send(Priority::High, "too late"), Err("too late"));
}

#[test]
fn a_panic_is_told_to_the_handler_and_takes_no_other_job_along() {
    let (clerk, heard, _go) = clerk();
    let reactor = Reactor::start(clerk).unwrap();
    for job in ["panic", "panic twice", "next"] {
        reactor.send(Priority::Low, job).unwrap();
    }
    let mut order = Vec::new();
    while order.last() != Some(&"next")
        && let Ok(done) = heard.recv()
    {
        order.push(done);
    }
    assert_eq!(order, ["panic", "it panicked", "panic twice", "it panicked", "next"]);
}

/// Hears two pipes, and writes into the second while it hears the first.
struct Ringer {
    ear: Ear<(), ()>,
    done: Sender<&'static str>,
    first: Token,
    second: PipeWriter,
    /// Those that are watched stay open.
    _pipes: [File; 2],
    has_news: bool,
}

impl Ringer {
    fn new(mut ear: Ear<(), ()>, done: Sender<&'static str>) -> (Ringer, PipeWriter) {
        let [(one, first), (other, second)] = [(); 2].map(|()| pipe().unwrap());
        let pipes = [one, other].map(|pipe| File::from(OwnedFd::from(pipe)));
        let [token, _] = [0, 1].map(|which: usize| ear.watch(&pipes[which]).unwrap());
        (Ringer { ear, done, first: token, second, _pipes: pipes, has_news: false }, first)
    }
}

impl Handler for Ringer {
    type Job = ();
    type Timer = ();

    fn ear(&mut self) -> &mut Ear<(), ()> {
        &mut self.ear
    }

    fn on_job(&mut self, (): ()) {}

    fn on_ready(&mut self, token: Token, _: bool) {
        self.done.send(if token == self.first { "first" } else { "second" }).unwrap();
        self.has_news = true;
        if token == self.first {
            self.second.write_all(b"x").unwrap();
        }
    }

    fn on_due(&mut self, (): ()) {}

    fn has_news(&self) -> bool {
        self.has_news
    }

    fn mark_news(&mut self) {
        self.done.send("marked").unwrap();
    }

    fn on_caught_up(&mut self) {
        self.done.send("told").unwrap();
        self.has_news = false;
    }

    fn on_left(&mut self, (): ()) {}

    fn on_stop(&mut self) {}

    fn on_panic(&mut self) {}
}

#[test]
fn what_happens_behind_the_report_of_the_kernel_is_heard_before_the_news_is_told() {
    // D18
    let (done, heard) = mpsc::channel();
    let mut first = None;
    let reactor = Reactor::start(|ear| {
        let (ringer, writer) = Ringer::new(ear, done);
        first = Some(writer);
        ringer
    })
    .unwrap();
    // It stays open: its hang-up would be heard as well.
    let mut first = first.unwrap();
    first.write_all(b"x").unwrap();
    let order: Vec<_> = heard.iter().take(4).collect();
    assert_eq!(order, ["first", "marked", "second", "told"]);
    drop(reactor);
}
