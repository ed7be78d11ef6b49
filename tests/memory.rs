//! Steps in parts, recomputation and limits: less memory, the same mathematics, and as much of it as was announced.

mod common;

use common::{batch, devices};
use ocellus::data::{Augment, Mixes, Normalization, Seed};
use ocellus::device::{Arena, Device};
use ocellus::graph::{Layout, Passes, Plan, optimize};
use ocellus::nn::{Model, zoo};
use ocellus::ops::MixRow;
use ocellus::tasks::Classifier;
use ocellus::train::{Adam, MemoryOptions, Optimizer, Session, StepResult, Task};

const N: usize = 8;

fn classifier(model: Model) -> Classifier {
    let normalization = Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] };
    Classifier::new(model, (0..10).map(|i| i.to_string()).collect(), normalization).unwrap()
}

/// Convolution and dropout, no statistics of a batch.
fn plain() -> Model {
    Model::parse(
        "input = [16, 16, 3]\n\
         [[layer]]\ntype = \"conv2d\"\nfilters = 8\nkernel = 3\nactivation = \"relu\"\n\
         [[layer]]\ntype = \"dropout\"\nrate = 0.3\n\
         [[layer]]\ntype = \"max_pool2d\"\nsize = 2\n\
         [[layer]]\ntype = \"flatten\"\n\
         [[layer]]\ntype = \"dense\"\nunits = 10\nactivation = \"softmax\"\n",
    )
    .unwrap()
}

fn resnet() -> Model {
    zoo::build("resnet20", [16, 16, 3], 10).unwrap()
}

fn images(seed: u32, n: usize) -> ocellus::data::Batch {
    let hash = |i: u32| (i ^ seed).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519) >> 24;
    let pixels = (0..(n * 16 * 16 * 3) as u32).map(|i| hash(i) as u8).collect();
    batch(pixels, (0..n as u32).map(|i| ((i * 7 + seed) % 10) as i32).collect())
}

fn session(device: &Device, model: Model, clip: Option<f32>, memory: MemoryOptions) -> Session<Classifier> {
    let initial = model.initialize(Seed(9)).unwrap();
    let mut optimizer = Optimizer::Adam(Adam::default());
    optimizer.set_clip_norm(clip);
    let session =
        Session::new(classifier(model), device, Some(optimizer.update()), 9).unwrap().with_memory(memory).unwrap();
    session.weights().set(|name| initial.get(name)).unwrap();
    session
}

/// Results and weights after some steps; the last is of fewer pictures.
fn train(session: &mut Session<Classifier>) -> (Vec<StepResult>, Vec<f32>) {
    let mut results = Vec::new();
    for step in 1..=4 {
        let n = if step == 4 { N - 1 } else { N };
        results.extend(session.train(&images(step, n), u64::from(step), 0.001).unwrap());
    }
    results.extend(session.results(0).unwrap());
    (results, session.weights().read(Arena::Parameters).unwrap())
}

#[test]
fn a_step_in_parts_is_the_same_step() {
    for device in devices() {
        for clip in [None, Some(0.05)] {
            let (whole, expected) = train(&mut session(&device, plain(), clip, MemoryOptions::default()));
            let memory = MemoryOptions { part: Some(3), ..MemoryOptions::default() };
            let (parts, weights) = train(&mut session(&device, plain(), clip, memory));
            assert_eq!(parts.len(), 4);
            for (a, b) in whole.iter().zip(&parts) {
                assert_eq!((a.step, a.samples, a.metric_sum), (b.step, b.samples, b.metric_sum));
                assert!((a.loss - b.loss).abs() < 1e-5 * a.loss, "{}: {} and {}", device.name(), a.loss, b.loss);
            }
            // Adam's step is as long for a tiny gradient as for a large one, so rounding may turn one that is nearly 0.
            let wrong = expected.iter().zip(&weights).filter(|(a, b)| (**a - **b).abs() > 1e-5).count();
            assert!(wrong * 1000 < expected.len(), "{}: {wrong} of {} weights", device.name(), expected.len());
        }
    }
}

#[test]
fn mixed_pictures_stay_together_when_a_step_is_divided() {
    let augment = Augment { mixup: 0.4, cutmix: 1.0, ..Augment::default() };
    let train = |device: &Device, part: Option<usize>| {
        let mut classifier = classifier(plain());
        classifier.mixes = true;
        let update = Optimizer::Adam(Adam::default()).update();
        let memory = MemoryOptions { part, ..MemoryOptions::default() };
        let mut session = Session::new(classifier, device, Some(update), 9).unwrap().with_memory(memory).unwrap();
        let initial = plain().initialize(Seed(9)).unwrap();
        session.weights().set(|name| initial.get(name)).unwrap();
        let mut results = Vec::new();
        for (step, n) in [(1, N), (2, N - 1)] {
            let mut batch = images(step, n);
            batch.mixes = augment.mixes(Seed(4), u64::from(step), &batch.indices, &batch.labels, [16, 16]);
            results.extend(session.train(&batch, u64::from(step), 0.001).unwrap());
        }
        results.extend(session.results(0).unwrap());
        (results, session.part())
    };
    for device in devices() {
        let (whole, _) = train(&device, None);
        let (parts, part) = train(&device, Some(3));
        assert_eq!(part, 4, "3 pictures would leave one without its partner");
        for (a, b) in whole.iter().zip(&parts) {
            assert!((a.loss - b.loss).abs() < 1e-5 * a.loss, "{}: {} and {}", device.name(), a.loss, b.loss);
            assert!((a.metric_sum - b.metric_sum).abs() < 1e-5, "{}", device.name());
        }
    }
}

#[test]
fn a_mixed_label_counts_by_its_shares() {
    for device in devices() {
        let loss = |share: f32| {
            let mut classifier = classifier(plain());
            classifier.mixes = true;
            classifier.weighting.label_smoothing = 0.1;
            let mut session =
                Session::new(classifier, &device, Some(Optimizer::Adam(Adam::default()).update()), 9).unwrap();
            let initial = plain().initialize(Seed(9)).unwrap();
            session.weights().set(|name| initial.get(name)).unwrap();
            let mut batch = images(1, N);
            let labels = batch.labels.iter().map(|label| (label + 1) % 10).collect();
            batch.mixes = Some(Mixes { rows: vec![MixRow::ALONE; N], labels, shares: vec![share; N] });
            session.train(&batch, 1, 0.001).unwrap();
            f64::from(session.results(0).unwrap()[0].loss)
        };
        let (own, other) = (loss(1.0), loss(0.0));
        assert!((own - other).abs() > 1e-3, "{own} and {other}");
        let expected = 0.3 * own + 0.7 * other;
        assert!((loss(0.3) - expected).abs() < 1e-5, "{}: {} instead of {expected}", device.name(), loss(0.3));
    }
}

#[test]
fn recomputing_changes_no_bit_and_saves_memory() {
    let graph = classifier(zoo::build("resnet20", [32, 32, 3], 10).unwrap()).training_graph(32, 0).unwrap();
    let live = |remat: bool| {
        let graph = optimize(&graph, Passes { remat, ..Passes::ALL }).unwrap();
        let (parameters, states) = (Layout::parameters(&graph), Layout::states(&graph));
        Plan::new(&graph, &parameters, &states, true, |_, _| Vec::new()).unwrap().live_bytes
    };
    assert!(live(true) * 2 < live(false), "{} bytes instead of {}", live(true), live(false));
    for device in devices() {
        for model in [plain(), resnet()] {
            let (kept, expected) = train(&mut session(&device, model.clone(), None, MemoryOptions::default()));
            let memory = MemoryOptions { remat: true, ..MemoryOptions::default() };
            let (again, weights) = train(&mut session(&device, model, None, memory));
            assert_eq!(kept, again, "{}", device.name());
            let same = expected.iter().zip(&weights).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{}: weights differ", device.name());
        }
    }
}

#[test]
fn what_does_not_fit_is_divided() {
    for device in devices() {
        let needed = session(&device, plain(), None, MemoryOptions::default()).prepare(N, N - 1).unwrap();
        let limited = |limit: u64| MemoryOptions { limit: Some(limit), ..MemoryOptions::default() };
        let mut exact = session(&device, plain(), None, limited(needed));
        assert_eq!((exact.prepare(N, N - 1).unwrap(), exact.part()), (needed, N));
        let mut tight = session(&device, plain(), None, limited(needed - 1));
        let bytes = tight.prepare(N, N - 1).unwrap();
        assert!(bytes < needed && tight.part() < N, "{bytes} bytes for parts of {}", tight.part());
        let (results, _) = train(&mut tight);
        assert_eq!(results.iter().map(|r| r.samples).sum::<usize>(), 4 * N - 1);
        // Inference is divided too, and its results are joined.
        let whole = session(&device, plain(), None, MemoryOptions::default()).infer(&images(3, N)).unwrap();
        let mut fresh = session(&device, plain(), None, limited(needed - 1));
        fresh.prepare(N, 0).unwrap();
        for (a, b) in whole.iter().zip(fresh.infer(&images(3, N)).unwrap()) {
            assert_eq!(a.shape(), b.shape());
            assert!(a.f32().iter().zip(b.f32()).all(|(a, b)| (a - b).abs() < 1e-5));
        }
        let error = session(&device, plain(), None, limited(1000)).prepare(N, 0).unwrap_err().to_string();
        assert!(error.contains("batches of 1 need") && error.contains("the limit is"), "{error}");
    }
}

#[test]
fn batch_statistics_are_not_divided_unasked() {
    for device in devices() {
        let needed = session(&device, resnet(), None, MemoryOptions::default()).prepare(N, 0).unwrap();
        let limit = MemoryOptions { limit: Some(needed - 1), ..MemoryOptions::default() };
        let error = session(&device, resnet(), None, limit).prepare(N, 0).unwrap_err().to_string();
        assert!(error.contains("other statistics") && error.contains("--batch-size 4"), "{error}");
        // Whoever asks for parts gets them.
        let parts = MemoryOptions { part: Some(4), ..limit };
        let mut session = session(&device, resnet(), None, parts);
        assert!(session.prepare(N, 0).unwrap() < needed);
        session.train(&images(1, N), 1, 0.001).unwrap();
        assert_eq!(session.results(0).unwrap().len(), 1);
    }
}

#[test]
fn memory_is_that_of_weights_and_activations() {
    let model = zoo::build("keras-first", [64, 64, 3], 10).unwrap();
    let trained = model.summary().unwrap().trained as u64;
    let (parameters, conv) = (4 * trained, 4 * 32 * 62 * 62 * 32);
    for device in devices() {
        let inference = Session::new(classifier(model.clone()), &device, None, 0).unwrap().needed_bytes(32).unwrap();
        assert!(inference > parameters && inference < parameters + 3 * conv, "{inference}");
        let training = session(&device, model.clone(), None, MemoryOptions::default()).needed_bytes(32).unwrap();
        // What is kept of the convolution is its result, or only what pooling left of it.
        assert!(training > 4 * parameters + conv / 4 && training < 4 * parameters + 5 * conv, "{training}");
    }
}

#[test]
fn as_much_memory_as_announced() {
    for device in devices() {
        let wide = || zoo::build("keras-first", [16, 16, 3], 10).unwrap();
        for (model, part) in [(wide(), None), (wide(), Some(3)), (resnet(), None)] {
            let memory = MemoryOptions { part, ..MemoryOptions::default() };
            let mut session = session(&device, model, None, memory);
            let announced = session.prepare(N, N - 1).unwrap();
            train(&mut session);
            session.infer(&images(3, N)).unwrap();
            let taken = session.device_bytes();
            let ratio = taken as f64 / announced as f64;
            assert!((0.98..=1.02).contains(&ratio), "{}: {taken} bytes, {announced} announced", device.name());
            if let Device::Gpu(gpu) = &device
                && let Some(allocated) = gpu.allocated_bytes()
            {
                // Buffers for transfers and parameters come on top: half a MiB, whatever the network.
                let [least, most] = [announced, announced + announced / 50 + (1 << 20)];
                assert!((least..=most).contains(&allocated), "{allocated} bytes allocated, {announced} announced");
            }
        }
    }
}
