//! What happens: one step at a time, drawn from the seed.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use onnxd::batching::{BatchingSettings, LayoutChoice, Reply, Request, RequestError};
use onnxd::lifecycle::{
    ActiveModels, ActiveVersion, LookupError, ManagerHandle, StopReport, VersionPolicy,
};
use onnxd::onnx::samples::Random;
use onnxd::tensor::Tensor;
use tempfile::TempDir;

use super::loads::{Command, Model, answering, start, write};
use super::promises::{Asked, Ending, Faults, Patience, check_answers, check_order};
use super::stage::{FIRST_REQUEST, Fate, Memory, Stage};

pub const MODELS: [&str; 2] = ["a", "b"];
const QUEUE_LIMIT: usize = 8;
const PRIORITY_LEVELS: u32 = 3;
const DEFAULT_PRIORITY: u32 = 2;
/// Nothing takes so long but what never ends.
pub const STUCK: Duration = Duration::from_secs(20);

pub type Answer<T> = Pin<Box<dyn Future<Output = T>>>;

/// A request on its way.
struct Waiting {
    /// Its place among all that were asked.
    asked: usize,
    version: Arc<ActiveVersion>,
    answer: Answer<Result<Reply, RequestError>>,
}

/// Everything, and the dice.
pub struct World {
    pub random: Random,
    pub folder: TempDir,
    pub stage: Stage,
    pub handle: ManagerHandle,
    pub active: Arc<ActiveModels>,
    inline: bool,
    instances: usize,
    pub models: Vec<Model>,
    pub next_stamp: u32,
    /// Stamps of the files that others took the place of, or that are gone.
    pub replaced: HashSet<u32>,
    asked: Vec<Asked>,
    /// Versions that requests met. Weakly held, one can be freed, and no other comes to lie where
    /// it was.
    met: Vec<Weak<ActiveVersion>>,
    waiting: Vec<Waiting>,
    pub commands: Vec<Command>,
    pub memory: Memory,
    memory_was_short: bool,
}

impl World {
    /// A world in which every model serves.
    pub async fn new(mut random: Random) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let stage = Stage::new();
        let inline = random.below(2) == 0;
        if inline {
            // Held, a run would hold this thread.
            stage.let_all_go();
        }
        let instances = 1 + usize::try_from(random.below(2)).expect("one or two");
        let batching = BatchingSettings {
            layout: if inline { LayoutChoice::Inline } else { LayoutChoice::Threads },
            max_batch_size: Some(4),
            max_queue_size: QUEUE_LIMIT,
            max_queue_delay: Duration::from_micros(500 * random.below(2)),
            instances: Some(instances),
            threads: Some(1),
            priority_levels: PRIORITY_LEVELS,
            default_priority: DEFAULT_PRIORITY,
            ..BatchingSettings::standard()
        };
        let versions =
            if random.below(2) == 0 { VersionPolicy::All } else { VersionPolicy::Latest(1) };
        for (model, name) in MODELS.iter().enumerate() {
            write(&folder.path().join(name).join("1"), &answering(model as u32));
        }
        let (handle, active) = start(&folder, &stage, batching, versions).await;
        let model = |model| Model { newest: 1, stamp: model, broken: false, serves: true };
        World {
            random,
            folder,
            stage,
            handle,
            active,
            inline,
            instances,
            models: (0..).take(MODELS.len()).map(model).collect(),
            next_stamp: 100,
            replaced: HashSet::new(),
            asked: Vec::new(),
            met: Vec::new(),
            waiting: Vec::new(),
            commands: Vec::new(),
            memory: Memory::Enough,
            memory_was_short: false,
        }
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(limit as u64)).expect("below a usize")
    }

    /// One thing happens.
    pub async fn step(&mut self) {
        match self.below(24) {
            0..=10 => self.ask().await,
            11 => self.go_away(),
            12..=15 => self.let_run().await,
            16..=17 => self.poll().await,
            18 => self.wait_for_commands().await,
            19..=20 => self.load_new().await,
            21 => self.load_broken().await,
            22 => self.load_again().await,
            _ if self.below(3) == 0 => self.unload().await,
            _ => self.change_memory(),
        }
        self.settle();
        self.check();
    }

    async fn ask(&mut self) {
        let model = self.below(MODELS.len());
        let version = match self.active.get(MODELS[model], None) {
            Ok(version) => version,
            // That a model that must serve does is checked after every step.
            Err(LookupError::NotReady { .. }) => return,
            Err(other) => panic!("{other}"),
        };
        let fate = if self.below(4) == 0 { Fate::ALL[self.below(4)] } else { Fate::Answer };
        let patience = match self.below(12) {
            0 => Patience::None,
            1 => Patience::Short,
            2..=4 => Patience::Long,
            _ => Patience::Endless,
        };
        let priority = u32::try_from(self.below(5)).expect("below five");
        let level = if priority == 0 { DEFAULT_PRIORITY } else { priority.min(PRIORITY_LEVELS) };
        let asked = Asked {
            number: FIRST_REQUEST + u32::try_from(self.asked.len()).expect("few are asked"),
            rows: 1 + self.below(3),
            width: 2 + self.below(2),
            level,
            fate,
            patience,
            version: self.place_of(&version),
            stamp: self.stamp_of(model),
            ending: Ending::Waits,
        };
        let request = self.request(&asked, priority);
        let asks = version.clone();
        let answer = Box::pin(async move { asks.batcher.infer(request).await });
        self.waiting.push(Waiting { asked: self.asked.len(), version, answer });
        self.asked.push(asked);
        // Polled once, a request is in the queue.
        self.poll_request(self.waiting.len() - 1).await;
    }

    /// The version's place among all that requests met.
    fn place_of(&mut self, version: &Arc<ActiveVersion>) -> usize {
        let version = Arc::downgrade(version);
        self.met.iter().position(|met| met.ptr_eq(&version)).unwrap_or_else(|| {
            self.met.push(version);
            self.met.len() - 1
        })
    }

    /// What the answers of the model bear, where nothing is about to change it.
    fn stamp_of(&self, model: usize) -> Option<u32> {
        let Model { serves, stamp, .. } = self.models[model];
        (self.is_still(model) && serves).then_some(stamp)
    }

    fn request(&mut self, asked: &Asked, priority: u32) -> Request {
        let mut row = vec![0.5; asked.width];
        row[0] = asked.number as f32;
        row[1] = asked.fate as u8 as f32;
        let values = row.repeat(asked.rows);
        let now = Instant::now();
        let deadline = match asked.patience {
            Patience::Endless => None,
            Patience::Long => Some(now + 10 * STUCK),
            Patience::Short => Some(now + Duration::from_micros(self.random.below(3000))),
            Patience::None => Some(now),
        };
        Request {
            inputs: vec![Some(
                Tensor::from_f32(&[asked.rows, asked.width], &values).expect("rows of one width"),
            )],
            outputs: [0].into_iter().collect(),
            priority,
            deadline,
            arrived: now,
        }
    }

    fn go_away(&mut self) {
        if !self.waiting.is_empty() {
            let index = self.below(self.waiting.len());
            let waiting = self.waiting.swap_remove(index);
            self.asked[waiting.asked].ending = Ending::GoneAway;
        }
    }

    /// Lets one run go on that is held; inline, lets one client look for its answer, and so run.
    async fn let_run(&mut self) {
        let held = self.stage.held();
        if self.inline && !self.waiting.is_empty() {
            let index = self.below(self.waiting.len());
            self.poll_request(index).await;
        } else if !held.is_empty() {
            let index = self.below(held.len());
            self.stage.let_go(held[index]);
        }
    }

    /// Every client and every command looks for its answer.
    async fn poll(&mut self) {
        for index in (0..self.waiting.len()).rev() {
            self.poll_request(index).await;
        }
        self.poll_commands().await;
        // Timers are looked at, too.
        tokio::task::yield_now().await;
    }

    async fn poll_request(&mut self, index: usize) {
        let answer = &mut self.waiting[index].answer;
        if let Poll::Ready(result) = poll_once(answer).await {
            let waiting = self.waiting.swap_remove(index);
            let is_full = matches!(result, Err(RequestError::QueueFull { .. }));
            let ending = &mut self.asked[waiting.asked].ending;
            assert!(matches!(ending, Ending::Waits));
            *ending = Ending::Answered(result);
            let is_beside = |it: &&Waiting| Arc::ptr_eq(&it.version, &waiting.version);
            let beside = self.waiting.iter().filter(is_beside).count();
            assert!(!is_full || beside >= QUEUE_LIMIT, "refused beside {beside}");
        }
    }

    fn change_memory(&mut self) {
        if self.commands.is_empty() {
            self.memory = match (self.memory, self.below(2)) {
                (Memory::Enough, 0) => Memory::Short,
                (Memory::Enough, _) => Memory::ShortAndFatal,
                _ => Memory::Enough,
            };
            self.memory_was_short |= self.memory != Memory::Enough;
            self.stage.set_memory(self.memory);
        }
    }

    /// Waits until every instance that has something to do does it: what happens next then does
    /// not depend on how fast its thread was.
    fn settle(&self) {
        let until = Instant::now() + STUCK;
        while !self.inline && !self.is_settled() {
            assert!(Instant::now() < until, "requests that wait beside an idle instance");
            std::thread::yield_now();
        }
    }

    fn is_settled(&self) -> bool {
        let held = self.stage.held();
        let version_of = |request: &u32| self.asked[(request - FIRST_REQUEST) as usize].version;
        self.waiting.iter().all(|waiting| {
            let own = self.asked[waiting.asked].version;
            let busy = held.iter().filter(|request| version_of(request) == own).count();
            busy == self.instances || waiting.version.batcher.queue_depth() == 0
        })
    }

    /// What must hold at every moment.
    fn check(&self) {
        for (name, model) in MODELS.iter().zip(&self.models) {
            let current = self.active.get(name, None).map(|version| version.number);
            assert!(!model.serves || current.is_ok(), "{name} was lost: {current:?}");
        }
        for waiting in &self.waiting {
            assert!(waiting.version.batcher.queue_depth() <= QUEUE_LIMIT);
        }
    }

    /// Stops, with or without requests that wait and loads under way, and looks at everything.
    pub async fn end(mut self) {
        self.stage.set_memory(Memory::Enough);
        if self.below(2) == 0 {
            self.stage.let_all_go();
            self.wait_for_commands().await;
            self.wait_for_answers().await;
        }
        // Refused now, or in time.
        self.commands.iter_mut().for_each(|command| command.overruled = true);
        let handle = self.handle.clone();
        let mut stop: Answer<StopReport> =
            Box::pin(async move { handle.stop(Instant::now() + STUCK).await });
        let stopped = poll_once(&mut stop).await;
        self.stage.let_all_go();
        self.wait_for_commands().await;
        self.wait_for_answers().await;
        let report = match stopped {
            Poll::Ready(report) => report,
            Poll::Pending => stop.await,
        };
        assert_eq!(report, StopReport { drained: true, unfinished: Vec::new() });
        let until = Instant::now() + STUCK;
        // A load that nobody waits for any more frees on its own thread what it has opened.
        while self.stage.live() > 0 && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(self.stage.live(), 0, "sessions were not freed");
        assert!(MODELS.iter().all(|name| self.active.get(name, None).is_err()));
        let log = self.stage.log();
        let faults = Faults { memory_was_short: self.memory_was_short, replaced: self.replaced };
        check_answers(&self.asked, &log, QUEUE_LIMIT, &faults);
        if self.inline || self.instances == 1 {
            check_order(&self.asked, &log);
        }
    }

    async fn wait_for_answers(&mut self) {
        let until = Instant::now() + STUCK;
        while !self.waiting.is_empty() {
            let waits = &self.asked[self.waiting[0].asked];
            assert!(Instant::now() < until, "requests that are never answered, such as {waits:?}");
            self.poll().await;
        }
    }
}

pub async fn poll_once<T>(answer: &mut Answer<T>) -> Poll<T> {
    poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await
}
