//! The cameras that Video4Linux has, and their modes.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use v4l::{
    Device,
    capability::Flags,
    context::{self, Node},
    frameinterval::FrameIntervalEnum,
    framesize::FrameSizeEnum,
    video::Capture as _,
};

use crate::source::devices::{CameraInfo, CameraMode};

/// Sizes that are offered of a camera that takes any within limits.
const COMMON_SIZES: [(u32, u32); 14] = [
    (160, 120),
    (176, 144),
    (320, 240),
    (352, 288),
    (640, 360),
    (640, 480),
    (800, 600),
    (960, 540),
    (1024, 768),
    (1280, 720),
    (1280, 960),
    (1920, 1080),
    (2560, 1440),
    (3840, 2160),
];

/// Rates that are offered of a camera that takes any within limits.
const COMMON_RATES: [f64; 9] = [120.0, 60.0, 50.0, 30.0, 25.0, 24.0, 15.0, 10.0, 5.0];

/// Modes of one camera that are listed.
const MAX_MODES: usize = 512;

/// The cameras, by number. One that cannot be asked is left out: it is somebody else's, or about to go.
pub(in crate::source::camera) fn list() -> Vec<CameraInfo> {
    let mut nodes = context::enum_devices();
    nodes.sort_by_key(Node::index);
    nodes.iter().filter_map(camera).collect()
}

fn camera(node: &Node) -> Option<CameraInfo> {
    let path = node.path();
    let device = match Device::with_path(path) {
        Ok(device) => device,
        // Listed without modes, so that opening it says what is missing.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Some(forbidden(node)),
        Err(_) => return None,
    };
    // The library panics on a name that is not UTF-8.
    let capabilities = catch_unwind(AssertUnwindSafe(|| device.query_caps())).ok()?.ok()?;
    if !capabilities.capabilities.contains(Flags::VIDEO_CAPTURE | Flags::STREAMING) {
        return None;
    }
    let modes = modes(&device);
    // A node for metadata says that it can capture, and has no formats.
    if modes.is_empty() {
        return None;
    }
    let id = stable_link(path).unwrap_or_else(|| format!("{}:{}", capabilities.bus, capabilities.card));
    Some(CameraInfo { id, index: index(node), name: capabilities.card, path: text(path), modes })
}

fn forbidden(node: &Node) -> CameraInfo {
    let path = node.path();
    CameraInfo {
        id: stable_link(path).unwrap_or_else(|| text(path)),
        index: index(node),
        name: node.name().unwrap_or_default(),
        path: text(path),
        modes: Vec::new(),
    }
}

fn index(node: &Node) -> u32 {
    u32::try_from(node.index()).unwrap_or(u32::MAX)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The name that udev gives a device by what it is, and not by when it came.
fn stable_link(node: &Path) -> Option<String> {
    let links = fs::read_dir("/dev/v4l/by-id").ok()?;
    let mut names: Vec<PathBuf> = links.filter_map(|link| Some(link.ok()?.path())).collect();
    names.sort();
    let leads_here = |link: &&PathBuf| fs::canonicalize(link).is_ok_and(|target| target == node);
    names.iter().find(leads_here).and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()))
}

fn modes(device: &Device) -> Vec<CameraMode> {
    let mut modes = Vec::new();
    for format in device.enum_formats().unwrap_or_default() {
        for size in device.enum_framesizes(format.fourcc).unwrap_or_default() {
            for (width, height) in sizes(size.size) {
                if modes.len() < MAX_MODES {
                    let fps = rates(device, format.fourcc, width, height);
                    modes.push(CameraMode { device_format: format.fourcc.to_string(), width, height, fps });
                }
            }
        }
    }
    modes
}

fn sizes(size: FrameSizeEnum) -> Vec<(u32, u32)> {
    match size {
        FrameSizeEnum::Discrete(size) => vec![(size.width, size.height)],
        FrameSizeEnum::Stepwise(steps) => {
            let is_step = |value: u32, min: u32, max: u32, step: u32| {
                (min..=max).contains(&value) && (value - min).is_multiple_of(step.max(1))
            };
            let fits = |&(width, height): &(u32, u32)| {
                is_step(width, steps.min_width, steps.max_width, steps.step_width)
                    && is_step(height, steps.min_height, steps.max_height, steps.step_height)
            };
            let mut sizes: Vec<_> = COMMON_SIZES.into_iter().filter(fits).collect();
            let largest = (steps.max_width, steps.max_height);
            if !sizes.contains(&largest) {
                sizes.push(largest);
            }
            sizes
        }
    }
}

/// The fastest first.
fn rates(device: &Device, fourcc: v4l::FourCC, width: u32, height: u32) -> Vec<f64> {
    let fps = |interval: v4l::Fraction| {
        (interval.numerator != 0).then(|| f64::from(interval.denominator) / f64::from(interval.numerator))
    };
    let mut rates: Vec<f64> = Vec::new();
    for interval in device.enum_frameintervals(fourcc, width, height).unwrap_or_default() {
        match interval.interval {
            FrameIntervalEnum::Discrete(interval) => rates.extend(fps(interval)),
            FrameIntervalEnum::Stepwise(steps) => {
                // The shortest interval is the highest rate.
                if let (Some(highest), Some(lowest)) = (fps(steps.min), fps(steps.max)) {
                    rates.push(highest);
                    rates.extend(COMMON_RATES.into_iter().filter(|rate| (lowest..highest).contains(rate)));
                }
            }
        }
    }
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.dedup();
    rates
}

#[cfg(test)]
mod tests {
    use v4l::framesize::{Discrete, Stepwise};

    use super::*;

    #[test]
    fn any_size_within_limits_is_offered_as_the_usual_ones() {
        assert_eq!(sizes(FrameSizeEnum::Discrete(Discrete { width: 7, height: 5 })), [(7, 5)]);
        let steps = Stepwise {
            min_width: 160,
            max_width: 1300,
            step_width: 16,
            min_height: 120,
            max_height: 720,
            step_height: 8,
        };
        let offered = sizes(FrameSizeEnum::Stepwise(steps));
        assert!(offered.contains(&(640, 480)) && offered.contains(&(1280, 720)) && offered.contains(&(1300, 720)));
        assert!(!offered.contains(&(1920, 1080)) && !offered.contains(&(1024, 768)));
    }
}
