use std::time::{Duration, Instant};

use super::context::Gpu;
use super::program::{Dispatch, Program};
use super::readback;
use crate::error::Result;

/// Dispatches whose times one query set holds: WebGPU guarantees 4096 queries, and each dispatch takes two.
const TIMED: usize = 2048;
/// Time over which runs of a step by itself are averaged.
const ALONE: Duration = Duration::from_millis(20);

impl Program {
    /// The time of each step of a run, and of the update at its end: the least of `runs` runs by the adapter's clock.
    /// Where it has none, each step is run by itself, over and over, with what the last run left in its inputs.
    ///
    /// Errors: if the device is lost.
    pub fn profile(&mut self, runs: usize, scalars: &[f32]) -> Result<Vec<Duration>> {
        self.repeat(1, scalars)?;
        let mut least = vec![Duration::MAX; self.plan().steps.len() + 1];
        for _ in 0..runs {
            let Some(times) = self.timestamps()? else { return self.alone() };
            least.iter_mut().zip(times).for_each(|(least, time)| *least = time.min(*least));
        }
        Ok(least)
    }

    /// `None` where the adapter keeps no time.
    fn timestamps(&self) -> Result<Option<Vec<Duration>>> {
        let gpu = self.gpu();
        if !gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let mut times = vec![Duration::ZERO; self.plan().steps.len() + 1];
        for dispatches in self.by_step().chunks(TIMED) {
            let ticks = time(gpu, dispatches)?;
            if ticks.iter().all(|&t| t == 0) {
                return Ok(None);
            }
            let period = f64::from(gpu.queue.get_timestamp_period());
            for (&(step, _), ticks) in dispatches.iter().zip(ticks) {
                times[step] += Duration::from_secs_f64(ticks as f64 * period * 1e-9);
            }
        }
        Ok(Some(times))
    }

    fn alone(&self) -> Result<Vec<Duration>> {
        let gpu = self.gpu();
        let run = |dispatches: &[(usize, &Dispatch)], times: u32| {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                (0..times).for_each(|_| dispatches.iter().for_each(|(_, dispatch)| dispatch.encode(&mut pass)));
            }
            let start = Instant::now();
            gpu.queue.submit([encoder.finish()]);
            readback::wait(gpu, None).map(|()| start.elapsed())
        };
        let overhead = run(&[], 1)?;
        let mut durations = vec![Duration::ZERO; self.plan().steps.len() + 1];
        for dispatches in self.by_step().chunk_by(|a, b| a.0 == b.0) {
            let once = run(dispatches, 1)?;
            let times = (ALONE.as_secs_f64() / once.as_secs_f64().max(1e-6)).clamp(1.0, 1000.0) as u32;
            durations[dispatches[0].0] = run(dispatches, times)?.saturating_sub(overhead) / times;
        }
        Ok(durations)
    }
}

/// Ticks that each of the dispatches takes.
fn time(gpu: &Gpu, dispatches: &[(usize, &Dispatch)]) -> Result<Vec<u64>> {
    let count = 2 * dispatches.len() as u32;
    let queries = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
        label: Some("profile"),
        ty: wgpu::QueryType::Timestamp,
        count,
    });
    let bytes = u64::from(count) * u64::from(wgpu::QUERY_SIZE);
    let resolved = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("profile"),
        size: bytes,
        usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    for ((_, dispatch), query) in dispatches.iter().zip((0..count).step_by(2)) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &queries,
                beginning_of_pass_write_index: Some(query),
                end_of_pass_write_index: Some(query + 1),
            }),
        });
        dispatch.encode(&mut pass);
    }
    encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
    gpu.checked("profile", || gpu.queue.submit([encoder.finish()]))?;
    let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&readback::read(gpu, &resolved, 0, bytes as usize)?);
    Ok(ticks.chunks(2).map(|pair| pair[1].saturating_sub(pair[0])).collect())
}
