//! The life of one task, as a function: `(Task, Event) -> (Task, Effects)`.
//! Nothing here reads a clock, a file or a process table: callers bring facts in as events and carry effects out.
//! A finished task never changes its ending; the first ending wins. A completion is told by one holder at a time.

use super::{Delivery, Ending, Lease, Status};

/// How often a completion is handed to callbacks that fail, in one process.
const MAX_ATTEMPTS: u32 = 5;

/// What is known of a task that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The leader.
    pub pid: u32,
    /// The supervisor.
    pub supervisor_pid: u32,
    /// Unix milliseconds.
    pub started_at: u64,
}

/// The processes that a leader leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Some live, or nobody knows better yet.
    Inhabited {
        /// Whose children they are now; unknown when this host never saw the task run, and when they are nobody's any more.
        supervisor_pid: Option<u32>,
    },
    /// All are gone.
    Empty,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its supervisor is on its way.
    Starting,
    /// The command runs.
    Running(Run),
    /// The command runs and was asked to end.
    Stopping(Run),
    /// The leader has ended.
    Ended(Ending, Tree),
}

/// A task, as far as this host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it stands.
    pub state: State,
    /// Where its news stands.
    pub delivery: Delivery,
    /// How often callbacks have failed in this process.
    pub failures: u32,
    notify: bool,
}

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The command runs.
    Started(Run),
    /// Somebody wants it to end.
    KillAsked,
    /// The leader has ended.
    Ended(Ending),
    /// The last descendant is gone.
    TreeEmpty,
    /// The supervisor is gone, and how the task ended if it left no record.
    SupervisorGone(Ending),
    /// The completion is handed out.
    Leased(Lease),
    /// Its callback is called.
    Begun {
        /// Whether the callback will say when it is done.
        settles: bool,
    },
    /// The holder has it for good.
    Accepted,
    /// The holder failed, and it may be tried again later.
    Refused,
    /// The holder gave it back unharmed, or the back-off is over.
    Returned,
}

/// What the world must now do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell those who wait for the start.
    AnnounceStart,
    /// Kill what carries the task's mark: nobody else will. [`Event::TreeEmpty`] follows when it is done.
    Sweep,
    /// Tell those who wait for the end, and queue the completion.
    AnnounceEnd,
    /// Tell those who wait for the tree to be gone.
    AnnounceEmpty,
    /// Try the completion again after a pause.
    RetryLater,
}

impl Task {
    /// A task that is about to start.
    pub fn new(notify: bool) -> Task {
        Task { state: State::Starting, delivery: Delivery::Silent, failures: 0, notify }
    }

    /// The word for where it stands.
    pub fn status(&self) -> Status {
        match &self.state {
            State::Starting => Status::Starting,
            State::Running(_) => Status::Running,
            State::Stopping(_) => Status::Killing,
            State::Ended(ending, _) => ending.status(),
        }
    }

    /// How it ended, if it has.
    pub fn ending(&self) -> Option<&Ending> {
        match &self.state {
            State::Ended(ending, _) => Some(ending),
            _ => None,
        }
    }

    /// The processes of a command that is not known to have ended.
    pub fn run(&self) -> Option<Run> {
        match self.state {
            State::Running(run) | State::Stopping(run) => Some(run),
            State::Starting | State::Ended(..) => None,
        }
    }

    /// Whether it has ended and left nothing behind.
    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Ended(_, Tree::Empty))
    }

    /// The holder of the completion, if there is one.
    pub fn lease(&self) -> Option<Lease> {
        match self.delivery {
            Delivery::Leased(lease) => Some(lease),
            _ => None,
        }
    }

    /// Whether a callback may be handed the completion: nobody holds it, and callbacks have not failed too often.
    pub fn can_be_told(&self) -> bool {
        self.delivery == Delivery::Pending && self.failures < MAX_ATTEMPTS
    }

    /// Moves the task and returns what must follow, in order.
    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Started(run) if self.state == State::Starting => {
                self.state = State::Running(run);
                vec![Effect::AnnounceStart]
            }
            Event::Started(_) => vec![],
            Event::KillAsked => self.on_kill(),
            Event::Ended(ending) => self.on_end(ending),
            Event::TreeEmpty => self.on_empty(),
            Event::SupervisorGone(ending) => self.on_gone(ending),
            Event::Leased(_) | Event::Begun { .. } | Event::Accepted | Event::Refused | Event::Returned => {
                self.on_delivery(&event)
            }
        }
    }

    fn on_kill(&mut self) -> Vec<Effect> {
        match self.state {
            State::Running(run) => {
                self.state = State::Stopping(run);
                vec![]
            }
            State::Starting | State::Stopping(_) | State::Ended(_, Tree::Inhabited { .. }) => vec![],
            State::Ended(_, Tree::Empty) => vec![Effect::AnnounceEmpty],
        }
    }

    fn on_end(&mut self, ending: Ending) -> Vec<Effect> {
        let supervisor_pid = match self.state {
            State::Ended(..) => return vec![],
            State::Starting => None,
            State::Running(run) | State::Stopping(run) => Some(run.supervisor_pid),
        };
        let tree = if ending.descendants == 0 { Tree::Empty } else { Tree::Inhabited { supervisor_pid } };
        self.end(ending, tree)
    }

    fn end(&mut self, ending: Ending, tree: Tree) -> Vec<Effect> {
        self.state = State::Ended(ending, tree);
        self.delivery = if self.notify { Delivery::Pending } else { Delivery::Silent };
        let mut effects = vec![Effect::AnnounceStart, Effect::AnnounceEnd];
        effects.extend((tree == Tree::Empty).then_some(Effect::AnnounceEmpty));
        effects
    }

    fn on_empty(&mut self) -> Vec<Effect> {
        match &mut self.state {
            State::Ended(_, tree @ Tree::Inhabited { .. }) => {
                *tree = Tree::Empty;
                vec![Effect::AnnounceEmpty]
            }
            _ => vec![],
        }
    }

    /// What it leaves is not known to be gone before it is looked for.
    fn on_gone(&mut self, ending: Ending) -> Vec<Effect> {
        let left = Tree::Inhabited { supervisor_pid: None };
        let mut effects = vec![Effect::Sweep];
        match &mut self.state {
            State::Ended(_, Tree::Empty) => return vec![],
            State::Ended(_, tree) => *tree = left,
            _ => effects.extend(self.end(ending, left)),
        }
        effects
    }

    fn on_delivery(&mut self, event: &Event) -> Vec<Effect> {
        self.delivery = match (self.delivery, event) {
            (Delivery::Pending, Event::Leased(lease)) => Delivery::Leased(*lease),
            (Delivery::Leased(lease), Event::Begun { settles }) => {
                Delivery::Leased(Lease { in_callback: *settles, on_its_way: 0, ..lease })
            }
            (Delivery::Silent, _) => Delivery::Silent,
            (_, Event::Accepted) => Delivery::Delivered,
            (Delivery::Leased(_), Event::Returned) | (Delivery::BackingOff, Event::Returned) => Delivery::Pending,
            (Delivery::Leased(_), Event::Refused) => {
                self.failures += 1;
                if self.failures < MAX_ATTEMPTS {
                    self.delivery = Delivery::BackingOff;
                    return vec![Effect::RetryLater];
                }
                Delivery::Pending
            }
            (unchanged, _) => unchanged,
        };
        vec![]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cause, EndOrder};
    use super::*;

    const RUN: Run = Run { pid: 12, supervisor_pid: 11, started_at: 1 };

    const LEASE: Lease = Lease { number: 1, subscription: 1, attempt: 1, in_callback: false, on_its_way: 1 };

    fn ending(cause: Cause, exit_code: Option<i32>, descendants: u32) -> Ending {
        Ending {
            cause,
            exit_code,
            signal: None,
            error: None,
            started_at: 1,
            finished_at: 2,
            duration_ms: 1,
            order: EndOrder { this_boot: true, at: 7 },
            is_recorded: true,
            descendants,
            max_rss_bytes: None,
            cpu_ms: None,
        }
    }

    fn exit(code: i32) -> Event {
        Event::Ended(ending(Cause::Exit, Some(code), 0))
    }

    fn lost() -> Event {
        Event::SupervisorGone(ending(Cause::SupervisorLost, None, 0))
    }

    fn play(events: &[Event]) -> (Task, Vec<Effect>) {
        let mut task = Task::new(true);
        let mut last = vec![];
        for event in events {
            last = task.on(event.clone());
        }
        (task, last)
    }

    #[test]
    fn a_natural_end_is_told_once_and_never_changes() {
        // R11
        let end = [Effect::AnnounceStart, Effect::AnnounceEnd, Effect::AnnounceEmpty];
        let (task, effects) = play(&[Event::Started(RUN), exit(3)]);
        assert_eq!((task.status(), effects), (Status::Failed, end.to_vec()));
        for late in [exit(0), lost(), Event::Started(RUN), Event::TreeEmpty] {
            let (same, effects) = play(&[Event::Started(RUN), exit(3), late]);
            assert_eq!((same, effects), (task.clone(), vec![]));
        }
    }

    #[test]
    fn a_real_exit_code_survives_a_late_kill() {
        // P9
        let (task, _) = play(&[Event::Started(RUN), Event::KillAsked, exit(3)]);
        assert_eq!(task.status(), Status::Failed);
        let (task, effects) = play(&[Event::Started(RUN), exit(3), Event::KillAsked]);
        assert_eq!((task.status(), effects), (Status::Failed, vec![Effect::AnnounceEmpty]));
    }

    #[test]
    fn a_kill_of_descendants_that_outlived_their_task_changes_no_ending_and_is_over_with_them() {
        // P8
        let lingering = Event::Ended(ending(Cause::Exit, Some(0), 1));
        let (task, effects) = play(&[Event::Started(RUN), lingering.clone(), Event::KillAsked]);
        assert_eq!((task.status(), effects), (Status::Completed, vec![]));
        let (task, effects) = play(&[Event::Started(RUN), lingering, Event::KillAsked, Event::TreeEmpty]);
        assert_eq!((task.is_gone(), effects), (true, vec![Effect::AnnounceEmpty]));
    }

    #[test]
    fn a_vanished_supervisor_is_swept_after_and_leaves_no_exit_code() {
        // P2
        let (task, effects) = play(&[Event::Started(RUN), lost()]);
        let end = [Effect::Sweep, Effect::AnnounceStart, Effect::AnnounceEnd];
        assert_eq!((task.status(), task.is_gone(), effects), (Status::Lost, false, end.to_vec()));
        assert_eq!(task.ending().and_then(Ending::reported_exit_code), None);
        let (task, effects) = play(&[Event::Started(RUN), lost(), Event::TreeEmpty]);
        assert_eq!((task.is_gone(), effects), (true, vec![Effect::AnnounceEmpty]));
    }

    #[test]
    fn what_a_vanished_supervisor_has_left_and_no_sweep_has_ended_is_swept_again_when_it_is_asked_for() {
        let (task, effects) = play(&[Event::Started(RUN), lost(), Event::KillAsked, lost()]);
        assert_eq!((task.is_gone(), effects), (false, vec![Effect::Sweep]));
    }

    #[test]
    fn a_supervisor_that_vanishes_after_the_end_changes_only_the_tree() {
        let lingering = Event::Ended(ending(Cause::Exit, Some(0), 1));
        let (task, effects) = play(&[Event::Started(RUN), lingering, lost()]);
        assert_eq!((task.status(), effects), (Status::Completed, vec![Effect::Sweep]));
    }

    #[test]
    fn a_completion_has_one_holder_and_goes_back_when_it_fails() {
        // D5
        let (task, _) = play(&[exit(0), Event::Leased(LEASE)]);
        assert_eq!(task.delivery, Delivery::Leased(LEASE));
        let (task, effects) = play(&[exit(0), Event::Leased(LEASE), Event::Refused]);
        assert_eq!((task.delivery, effects), (Delivery::BackingOff, vec![Effect::RetryLater]));
        let (task, _) = play(&[exit(0), Event::Leased(LEASE), Event::Refused, Event::Leased(LEASE)]);
        assert_eq!(task.delivery, Delivery::BackingOff);
        let (task, _) = play(&[exit(0), Event::Leased(LEASE), Event::Accepted, Event::Returned, Event::Leased(LEASE)]);
        assert_eq!(task.delivery, Delivery::Delivered);
    }

    #[test]
    fn a_callback_that_always_fails_is_tried_five_times_and_the_news_is_kept() {
        // D9
        let mut task = Task::new(true);
        task.on(exit(0));
        let mut attempts = 0;
        loop {
            task.on(Event::Leased(LEASE));
            attempts += 1;
            if task.on(Event::Refused).is_empty() {
                break;
            }
            task.on(Event::Returned);
        }
        assert_eq!((attempts, task.delivery), (MAX_ATTEMPTS, Delivery::Pending));
    }

    #[test]
    fn nobody_is_told_of_a_task_that_asked_for_silence() {
        let mut task = Task::new(false);
        task.on(exit(0));
        task.on(Event::Leased(LEASE));
        assert_eq!(task.delivery, Delivery::Silent);
    }
}
