//! The engine on random tasks in a random world: it always progresses, asks for one thing at a time of each
//! container, and tells STOPPED only of what has ended.
//!
//! The world answers the actions under way in any order, some with failures, and lets containers exit or vanish when
//! it likes. After the task was told to stop and the world became quiet, everything must have stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use ecsr_api::Timestamp;
use proptest::prelude::*;

use super::*;

/// A container by number: the conditions under which it follows earlier ones, and its own nature.
#[derive(Debug, Clone)]
struct Plan {
    essential: bool,
    health_checked: bool,
    start_timeout: bool,
    restart: bool,
    depends_on: Vec<(usize, Condition)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let condition = prop_oneof![
        Just(Condition::Create),
        Just(Condition::Start),
        Just(Condition::Complete),
        Just(Condition::Success),
        Just(Condition::Healthy),
    ];
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec((0usize..5, condition), 0..3),
    )
        .prop_map(|(essential, health_checked, start_timeout, restart, depends_on)| Plan {
            essential,
            health_checked,
            start_timeout,
            restart,
            depends_on,
        })
}

fn spec_of(plans: &[Plan]) -> TaskSpec {
    let containers = plans.iter().enumerate().map(|(index, plan)| ContainerSpec {
        name: format!("c{index}"),
        image: "image".to_owned(),
        essential: plan.essential || index == 0,
        depends_on: plan
            .depends_on
            .iter()
            .filter(|(other, _)| *other < index)
            .map(|(other, condition)| Dependency { container: format!("c{other}"), condition: *condition })
            .collect(),
        start_timeout: plan.start_timeout.then_some(Duration::from_secs(10)),
        stop_timeout: None,
        restart: plan
            .restart
            .then(|| RestartPolicy { ignored_exit_codes: vec![0], attempt_period: Duration::from_secs(2) }),
        health_checked: plan.health_checked,
    });
    TaskSpec {
        arn: "t".to_owned(),
        family: "f".to_owned(),
        version: "1".to_owned(),
        local_restart: plans[0]
            .restart
            .then_some(LocalRestart { delay_min: Duration::from_secs(1), delay_max: Duration::from_secs(8) }),
        containers: containers.collect(),
    }
}

/// What the world knows of a container.
#[derive(Debug, Clone, PartialEq)]
enum Real {
    Absent,
    Created,
    Running { started_at: Timestamp },
    Exited(Exit),
}

struct World {
    engine: Engine,
    clock: i64,
    real: BTreeMap<String, Real>,
    /// What the engine asked for and was not answered.
    under_way: Vec<Action>,
    timers: Vec<Timer>,
    /// A stop failed and no retry was made yet.
    stopped_reports: usize,
}

impl World {
    fn new(spec: TaskSpec) -> Self {
        let settings = Settings {
            stop_timeout: Duration::from_secs(30),
            cleanup_wait: Duration::from_hours(1),
            pull_upfront: false,
        };
        let real = spec.containers.iter().map(|container| (container.name.clone(), Real::Absent)).collect();
        let mut world = World {
            engine: Engine::new(settings),
            clock: 1,
            real,
            under_way: Vec::new(),
            timers: Vec::new(),
            stopped_reports: 0,
        };
        world.tell(Input::Run(spec));
        world
    }

    fn now(&mut self) -> Timestamp {
        self.clock += 1;
        Timestamp::from_seconds(self.clock)
    }

    fn tell(&mut self, input: Input) {
        let now = self.now();
        for action in self.engine.handle(input, now) {
            match action {
                Action::Report(report) => self.check_report(&report),
                Action::SetTimer { timer, .. } => self.timers.push(timer),
                Action::TellHealth => {}
                Action::Pull { .. }
                | Action::Create { .. }
                | Action::Start { .. }
                | Action::Stop { .. }
                | Action::Remove { .. } => {
                    if let Some(key) = key_of(&action) {
                        let busy = self.under_way.iter().any(|other| key_of(other) == Some(key));
                        // A pull that became pointless is dropped without waiting for its answer.
                        assert!(!busy, "two things at once of {key:?}: {action:?} and {:?}", self.under_way);
                    }
                    self.under_way.push(action);
                }
            }
        }
    }

    fn check_report(&mut self, report: &TaskReport) {
        if report.status == Status::Stopped {
            self.stopped_reports += 1;
            let alive = self.real.values().any(|real| matches!(real, Real::Running { .. }));
            assert!(!alive, "STOPPED was told while something runs: {:?}", self.real);
            assert!(report.containers.iter().all(|container| container.status == Status::Stopped));
        }
        assert!(self.stopped_reports <= 1, "STOPPED was told twice");
    }

    fn snapshot(&self, name: &str) -> Option<Snapshot> {
        let state = match &self.real[name] {
            Real::Absent => return None,
            Real::Created => RunState::Created,
            Real::Running { started_at } => RunState::Running { started_at: *started_at },
            Real::Exited(exit) => RunState::Exited(exit.clone()),
        };
        Some(Snapshot { id: format!("id-{name}"), state, health: None, bindings: Vec::new() })
    }

    /// Answers one of the actions under way; `luck` 0 means failure, 1 that a word to start again was lost.
    fn answer(&mut self, index: usize, luck: u8) {
        let action = self.under_way.swap_remove(index % self.under_way.len());
        let fails = luck == 0;
        let failure = || Err("CannotDoError: no luck".to_owned());
        match action {
            Action::Pull { key, .. } => {
                let image = Image { digest: None, pull_started_at: None, pull_stopped_at: None };
                self.tell(Input::Pulled { key, outcome: if fails { failure() } else { Ok(image) } });
            }
            Action::Create { key } => {
                assert_eq!(self.real[&key.container], Real::Absent, "created twice");
                if !fails {
                    self.real.insert(key.container.clone(), Real::Created);
                }
                let outcome = self.snapshot(&key.container).ok_or_else(|| "CannotCreate".to_owned());
                self.tell(Input::Created { key, outcome });
            }
            Action::Start { key, .. } => self.answer_start(key, luck),
            Action::Stop { key, .. } => self.answer_stop(key, fails),
            Action::Remove { task_arn, .. } => self.tell(Input::Removed { task_arn, outcome: Removal::Done }),
            Action::Report(_) | Action::SetTimer { .. } | Action::TellHealth => {
                unreachable!("never under way")
            }
        }
    }

    fn answer_start(&mut self, key: ContainerKey, luck: u8) {
        let real = self.real[&key.container].clone();
        let outcome = match real {
            Real::Absent => Err("CannotStartContainerError: no such container".to_owned()),
            Real::Running { .. } => panic!("started while it runs"),
            Real::Created | Real::Exited(_) if luck == 0 => {
                Err("CannotStartContainerError: no luck".to_owned())
            }
            Real::Exited(_) if luck == 1 => Ok(self.snapshot(&key.container).expect("it exists")),
            Real::Created | Real::Exited(_) => {
                let started_at = self.now();
                self.real.insert(key.container.clone(), Real::Running { started_at });
                Ok(self.snapshot(&key.container).expect("it exists"))
            }
        };
        self.tell(Input::Started { key, outcome });
    }

    fn answer_stop(&mut self, key: ContainerKey, fails: bool) {
        if fails && matches!(self.real[&key.container], Real::Running { .. }) {
            return self.tell(Input::StopFailed { key });
        }
        self.end(&key.container, 143);
        self.notice(&key.container.clone());
    }

    /// The process ends by itself, unnoticed so far.
    fn end(&mut self, name: &str, exit_code: i64) {
        if let Real::Running { started_at } = self.real[name] {
            let exit =
                Exit { started_at, finished_at: self.now(), exit_code, oom_killed: false, error: None };
            self.real.insert(name.to_owned(), Real::Exited(exit));
        }
    }

    /// The engine hears of the container as it is.
    fn notice(&mut self, name: &str) {
        let key = ContainerKey { task_arn: "t".to_owned(), container: name.to_owned() };
        match self.snapshot(name) {
            Some(snapshot) => self.tell(Input::Observed { key, snapshot }),
            None => self.tell(Input::Gone { key, id: format!("id-{name}") }),
        }
    }

    /// Something happens; what it is comes from three numbers.
    fn happen(&mut self, (what, index, luck): (u8, usize, u8)) {
        let names: Vec<String> = self.real.keys().cloned().collect();
        let name = &names[index % names.len()];
        match what {
            0..=5 if !self.under_way.is_empty() => self.answer(index, luck),
            0..=5 => {}
            6 => {
                self.end(name, i64::from(luck % 2));
                self.notice(name);
            }
            7 if luck == 0 && self.real[name] != Real::Absent => {
                self.real.insert(name.clone(), Real::Absent);
                self.notice(name);
            }
            8 => {
                let key = ContainerKey { task_arn: "t".to_owned(), container: name.clone() };
                let health = if luck % 2 == 0 { Health::Healthy } else { Health::Unhealthy };
                self.tell(Input::Health { key, health });
            }
            9 => self.fire(index),
            10 => {
                let contact = if luck % 2 == 0 { Contact::Present } else { Contact::Away };
                self.tell(Input::Contact(contact));
            }
            _ => self.notice(name),
        }
    }

    fn fire(&mut self, index: usize) {
        if !self.timers.is_empty() {
            let timer = self.timers.swap_remove(index % self.timers.len());
            self.tell(Input::TimerFired(timer));
        }
    }

    /// Lets everything under way succeed and every timer fire, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..1000 {
            if !self.under_way.is_empty() {
                self.answer(0, u8::MAX);
            } else if !self.timers.is_empty() {
                self.fire(0);
            } else {
                return;
            }
        }
        panic!("never quiet: {:?} {:?}", self.under_way, self.timers);
    }

    /// Whether some container waits although nothing is under way that could change anything.
    fn is_stuck(&self) -> bool {
        let Some(task) = self.engine.views().next() else { return false };
        let waits = task.containers.iter().any(|container| container.status == Status::Pending);
        // Waiting for a running container to end or to become healthy is no deadlock: it may still do so.
        let may_change = task.containers.iter().any(|container| container.status == Status::Running);
        waits && !may_change
    }
}

fn key_of(action: &Action) -> Option<&ContainerKey> {
    match action {
        Action::Create { key } | Action::Start { key, .. } | Action::Stop { key, .. } => Some(key),
        Action::Pull { .. }
        | Action::Remove { .. }
        | Action::Report(_)
        | Action::SetTimer { .. }
        | Action::TellHealth => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_always_progresses_and_stops_when_told(
        plans in prop::collection::vec(plan(), 1..5),
        happenings in prop::collection::vec((0u8..12, 0usize..16, 0u8..6), 0..60),
    ) {
        let mut world = World::new(spec_of(&plans));
        for happening in happenings {
            world.happen(happening);
        }
        world.settle();
        prop_assert!(!world.is_stuck(), "stuck: {:?}", world.engine.views().collect::<Vec<_>>());
        world.tell(Input::Stop { task_arn: "t".to_owned() });
        world.settle();
        prop_assert_eq!(world.stopped_reports, 1);
        let alive = world.real.values().any(|real| matches!(real, Real::Running { .. }));
        prop_assert!(!alive);
    }

    #[test]
    fn inputs_may_come_twice(plans in prop::collection::vec(plan(), 1..4), looks in 1usize..20) {
        let mut world = World::new(spec_of(&plans));
        world.settle();
        let before: Vec<TaskView> = world.engine.views().collect();
        let names: Vec<String> = world.real.keys().cloned().collect();
        for look in 0..looks {
            world.notice(&names[look % names.len()]);
        }
        prop_assert!(world.under_way.is_empty());
        let after: Vec<TaskView> = world.engine.views().collect();
        prop_assert_eq!(before, after);
    }
}
