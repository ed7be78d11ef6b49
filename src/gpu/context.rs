use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::adapter::{self, AdapterSummary};
use super::tuner::Tuner;
use crate::error::{Error, Result};
use crate::graph::{Binding, Capabilities, Launch};

/// An open adapter: device, queue, and the pipelines made so far.
pub struct Gpu {
    adapter: wgpu::Adapter,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    summary: AdapterSummary,
    capabilities: Capabilities,
    limits: wgpu::Limits,
    pipelines: Mutex<HashMap<String, Arc<Pipeline>>>,
    lost: Arc<Mutex<Option<String>>>,
    pub(super) tuner: Mutex<Tuner>,
}

/// Buffers take a multiple of this many bytes, so that bindings of whole vectors fit.
pub(super) const UNIT: usize = 256;

/// A compiled kernel and the layout of its bindings.
pub(super) struct Pipeline {
    pub compute: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// Opens the adapter that `wanted` names: `gpu`, an index, or part of a name.
    ///
    /// Errors: if there is no such adapter, or its driver refuses.
    pub fn open(wanted: &str) -> Result<Arc<Self>> {
        Self::from_adapter(&adapter::choose(wanted)?)
    }

    /// Opens an adapter.
    pub fn from_adapter(adapter: &wgpu::Adapter) -> Result<Arc<Self>> {
        let summary = adapter::describe(adapter);
        let mut wanted = wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16;
        let cooperative = multiplies_together(adapter);
        wanted.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, cooperative);
        let experimental_features = match cooperative {
            // SAFETY: the user asks for the feature, knowing that it is experimental.
            true => unsafe { wgpu::ExperimentalFeatures::enabled() },
            false => wgpu::ExperimentalFeatures::disabled(),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("ocellus"),
            required_features: adapter.features() & wanted,
            experimental_features,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::device(format!("{}: the driver gave no device: {e}", summary.name)))?;
        let lost: Arc<Mutex<Option<String>>> = Arc::default();
        let report = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            *report.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{reason:?}: {message}"));
        });
        let limits = device.limits();
        let mut gpu = Self {
            adapter: adapter.clone(),
            capabilities: Capabilities {
                subgroup: None,
                workgroup_memory: limits.max_compute_workgroup_storage_size,
                invocations: limits.max_compute_invocations_per_workgroup,
                cooperative,
                software: summary.software,
            },
            device,
            queue,
            tuner: Mutex::new(Tuner::new(&summary)),
            summary,
            limits,
            pipelines: Mutex::default(),
            lost,
        };
        gpu.capabilities.subgroup = gpu.probe_subgroup()?;
        Ok(Arc::new(gpu))
    }

    /// The same adapter once more, as a device of its own.
    pub(super) fn reopen(&self) -> Result<Arc<Self>> {
        Self::from_adapter(&self.adapter)
    }

    /// What the adapter is.
    pub fn summary(&self) -> &AdapterSummary {
        &self.summary
    }

    /// What its kernels may use.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether its kernels can load and store 16-bit floats.
    pub fn has_half(&self) -> bool {
        self.device.features().contains(wgpu::Features::SHADER_F16)
    }

    /// Bytes that the allocator of device memory has given out, where there is one that says so.
    pub fn allocated_bytes(&self) -> Option<u64> {
        self.device.generate_allocator_report().map(|report| report.total_allocated_bytes)
    }

    /// The subgroup size, if it is fixed and invocations fill subgroups in order: WGSL promises neither, so a kernel
    /// looks.
    fn probe_subgroup(&self) -> Result<Option<u32>> {
        let [smallest, largest] = self.summary.subgroup;
        if !self.device.features().contains(wgpu::Features::SUBGROUP) || smallest != largest || smallest < 4 {
            return Ok(None);
        }
        let text = include_str!("../../shaders/probe_subgroup.wgsl");
        let launch = Launch::new("probe_subgroup.wgsl", text).params([0]).bindings([Binding::Output]);
        let n = 256;
        let output = self.buffer("probe", n * 4);
        let params = self.params(&[0]);
        let pipeline = self.pipeline("probe", &launch)?;
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
            ],
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline.compute);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
        self.queue.submit([encoder.finish()]);
        let seen: Vec<u32> = bytemuck::pod_collect_to_vec(&super::readback::read(self, &output, 0, n * 4)?);
        let expected = (0..n as u32).map(|i| (smallest << 16) | (i % smallest));
        Ok(seen.into_iter().eq(expected).then_some(smallest))
    }

    /// The pipeline of a launch, made once. `at` names the op in errors.
    pub(super) fn pipeline(&self, at: &str, launch: &Launch) -> Result<Arc<Pipeline>> {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pipelines.get(&launch.source) {
            return Ok(known.clone());
        }
        let made = self.checked(&format!("{at} ({})", launch.shader), || self.make_pipeline(launch))?;
        let made = Arc::new(made);
        pipelines.insert(launch.source.clone(), made.clone());
        Ok(made)
    }

    fn make_pipeline(&self, launch: &Launch) -> Pipeline {
        let storage = launch.bindings.iter().map(|b| wgpu::BufferBindingType::Storage { read_only: b.is_read_only() });
        let entries: Vec<wgpu::BindGroupLayoutEntry> = [wgpu::BufferBindingType::Uniform]
            .into_iter()
            .chain(storage)
            .enumerate()
            .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            })
            .collect();
        let layout =
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(launch.shader),
            source: wgpu::ShaderSource::Wgsl(launch.source.as_str().into()),
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let options =
            wgpu::PipelineCompilationOptions { zero_initialize_workgroup_memory: false, ..Default::default() };
        let compute = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(launch.shader),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: None,
            compilation_options: options,
            cache: None,
        });
        Pipeline { compute, layout }
    }

    /// Runs `f` and turns what the driver objects to into an error which names `at`.
    pub(super) fn checked<T>(&self, at: &str, f: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = f();
        let errors = [validation.pop(), internal.pop()].map(pollster::block_on);
        if let Some(error) = pollster::block_on(memory.pop()) {
            let message = format!("{at}: out of device memory: {error}; try a smaller --batch-size or --image-size");
            return Err(Error::memory(message));
        }
        match errors.into_iter().flatten().next() {
            Some(error) => Err(Error::device(format!("{at}: {}: {error}", self.summary.name))),
            None => Ok(value),
        }
    }

    /// A buffer for compute, zeroed.
    pub(super) fn buffer(&self, label: &str, bytes: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.max(1).next_multiple_of(UNIT) as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    }

    /// A uniform buffer that holds `words`.
    pub(super) fn params(&self, words: &[u32]) -> wgpu::Buffer {
        let size = (words.len().max(1) * 4).next_multiple_of(16) as u64;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }

    /// Refuses a buffer or binding that the adapter cannot hold.
    pub(super) fn expect_fits(&self, what: &str, bytes: usize, bound: bool) -> Result<()> {
        let limit = if bound { self.limits.max_storage_buffer_binding_size } else { self.limits.max_buffer_size };
        if bytes as u64 <= limit {
            return Ok(());
        }
        let (need, limit) = (bytes >> 20, limit >> 20);
        let kind = if bound { "binding" } else { "buffer" };
        Err(Error::memory(format!(
            "{what} needs a {kind} of {need} MiB, but {} allows {limit} MiB; try a smaller --batch-size or --image-size, or --device cpu",
            self.summary.name
        )))
    }

    /// An error if the device is gone.
    pub(super) fn expect_alive(&self) -> Result<()> {
        match &*self.lost.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(Error::device(format!("{}: the device was lost: {reason}", self.summary.name))),
            None => Ok(()),
        }
    }
}

/// Whether the user asks for products of cooperative matrices of 8×8 f32, and the adapter has them.
fn multiplies_together(adapter: &wgpu::Adapter) -> bool {
    let f32 = wgpu::CooperativeScalarType::F32;
    std::env::var_os("OCELLUS_COOPERATIVE_MATRIX").is_some_and(|value| value == "1")
        && adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        && (adapter.cooperative_matrix_properties().iter())
            .any(|p| [p.m_size, p.n_size, p.k_size] == [8; 3] && p.ab_type == f32 && p.cr_type == f32)
}

impl Binding {
    fn is_read_only(self) -> bool {
        matches!(self, Self::Input(_) | Self::Gradients | Self::GradientScale)
    }
}
