//! The cameras of a Linux machine: which nodes they are, what they are called, what they offer.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    super::{
        CameraId,
        modes::{FourCc, Offer, Rates, Sizes, sort_fps},
    },
    sys::{Capability, Device},
};
use crate::source::{
    SourceError,
    devices::{CameraInfo, CameraMode},
};

/// Nodes that are looked at: what the kernel numbers at most.
const MAX_NODES: usize = 256;

/// Entries of one list of a device. Drivers end their lists; one that does not shall not keep us.
const MAX_LISTED: u32 = 256;

/// Modes of one camera that are told.
const MAX_MODES: usize = 1024;

/// Where udev keeps names that stay: first what a camera is, then where it is plugged in.
const LINKS: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];

/// How long to look for whoever holds a camera.
const HOLDER_TIMEOUT: Duration = Duration::from_millis(100);

/// A device node of Video4Linux.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    number: u32,
    path: PathBuf,
    /// Its names in [`LINKS`], the best first.
    links: Vec<String>,
}

/// A camera that was found, without its modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Found {
    /// With its modes, if it can be opened.
    fn into_info(self, device: Option<&Device>) -> CameraInfo {
        let modes = device.map(modes).unwrap_or_default();
        let path = self.path.display().to_string();
        CameraInfo { id: self.id, index: self.number, name: self.name, path, modes }
    }
}

/// All cameras, with their modes, by number.
pub(super) fn list() -> Vec<CameraInfo> {
    let cameras = nodes().into_iter().filter_map(|node| probe(&node));
    let (mut found, devices): (Vec<_>, Vec<_>) = cameras.unzip();
    tell_apart(&mut found);
    found.into_iter().zip(devices).map(|(found, device)| found.into_info(device.as_ref())).collect()
}

/// The camera of that name, with its modes.
pub(super) fn find_info(camera: &CameraId) -> Result<CameraInfo, SourceError> {
    find(camera).map(|(found, device)| found.into_info(device.ok().as_ref()))
}

/// The camera of that name, and the device or why it cannot be opened.
///
/// Other cameras are left alone where the name says which node it is: opening a node wakes its device.
pub(super) fn find(camera: &CameraId) -> Result<(Found, io::Result<Device>), SourceError> {
    let nodes = nodes();
    let named = match camera {
        CameraId::Index(number) => nodes.iter().find(|node| node.number == *number),
        CameraId::Name(name) => {
            let target = name.starts_with('/').then(|| fs::canonicalize(name).ok()).flatten();
            nodes.iter().find(|node| node.links.contains(name) || target.as_ref() == Some(&node.path))
        }
    };
    let mut found: Vec<Found> = match named.map(std::slice::from_ref) {
        Some(node) if !node.iter().all(|node| node.links.is_empty()) => node.iter().filter_map(found_at).collect(),
        // Names that the cameras themselves make up depend on all of them.
        _ => nodes.iter().filter_map(found_at).collect(),
    };
    tell_apart(&mut found);
    let is_it = |found: &&Found| match (named, camera) {
        (Some(node), _) => found.path == node.path,
        (None, CameraId::Name(name)) => found.id == *name,
        (None, CameraId::Index(_)) => false,
    };
    match found.iter().find(is_it) {
        Some(found) => Ok((found.clone(), Device::open(&found.path))),
        None => Err(SourceError::NoSuchDevice {
            what: "camera",
            id: camera.to_string(),
            available: list().iter().map(|info| format!("{} ({}: {})", info.id, info.path, info.name)).collect(),
        }),
    }
}

fn found_at(node: &Node) -> Option<Found> {
    probe(node).map(|(found, _)| found)
}

/// The node's camera, if it is one; without its device if that cannot be opened now.
fn probe(node: &Node) -> Option<(Found, Option<Device>)> {
    match Device::open(&node.path) {
        Ok(device) => {
            let capability = device.capability().ok()?;
            // Of the nodes of one camera, those for metadata have no formats of pictures.
            let is_camera = capability.is_camera && device.format_at(0).ok()?.is_some();
            is_camera.then(|| (found(node, Some(&capability)), Some(device)))
        }
        // Told of, so that whoever asks for it hears why it cannot be used. Its first node is the camera's.
        Err(error) if is_refused(&error) && attribute(node, "index").is_none_or(|index| index == "0") => {
            Some((found(node, None), None))
        }
        Err(error) => {
            tracing::debug!(%error, node = %node.path.display(), "not a camera that can be used");
            None
        }
    }
}

fn is_refused(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::ACCESS | Errno::PERM | Errno::BUSY))
}

fn found(node: &Node, capability: Option<&Capability>) -> Found {
    let path = node.path.display().to_string();
    let id = match (node.links.first(), capability) {
        (Some(link), _) => link.clone(),
        (None, Some(Capability { card, bus, .. })) => format!("{bus}/{card}"),
        (None, None) => path.clone(),
    };
    let name = match capability {
        Some(capability) => capability.card.clone(),
        None => attribute(node, "name").unwrap_or(path),
    };
    Found { id, number: node.number, name, path: node.path.clone() }
}

/// What the kernel says about a node without opening it.
fn attribute(node: &Node, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/sys/class/video4linux/video{}/{name}", node.number)).ok()?;
    Some(text.trim().to_owned())
}

/// Numbers cameras that have the same name: `name#2`.
fn tell_apart(found: &mut [Found]) {
    let mut seen: HashMap<String, u32> = HashMap::new();
    for camera in found {
        let count = seen.entry(camera.id.clone()).or_default();
        *count += 1;
        if *count > 1 {
            camera.id = format!("{}#{count}", camera.id);
        }
    }
}

/// The nodes of Video4Linux, by number.
fn nodes() -> Vec<Node> {
    let links = links();
    let mut nodes: Vec<Node> = names_in(Path::new("/dev"))
        .filter_map(|name| {
            let number = number_of(&name)?;
            let path = Path::new("/dev").join(name);
            let links = links.iter().filter(|(_, target)| *target == path).map(|(name, _)| name.clone()).collect();
            Some(Node { number, path, links })
        })
        .collect();
    nodes.sort_by_key(|node| node.number);
    nodes.truncate(MAX_NODES);
    nodes
}

/// The N of `videoN`.
fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("video")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// The names of [`LINKS`] and the nodes that they lead to, the best first.
fn links() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for folder in LINKS.map(Path::new) {
        let mut names: Vec<_> = names_in(folder).take(MAX_NODES).collect();
        names.sort();
        found.extend(names.into_iter().filter_map(|name| {
            let target = fs::canonicalize(folder.join(&name)).ok()?;
            Some((name, target))
        }));
    }
    found
}

/// Names in a folder; none if it is not there.
fn names_in(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// What a device offers at a size. `None` for a list that it does not have.
pub(super) fn offers(device: &Device, size: (u32, u32)) -> Vec<Offer> {
    formats(device)
        .filter_map(|fourcc| {
            let sizes = sizes(device, fourcc);
            // A device without a list is asked whether it can.
            let is_offered = sizes.is_empty() || sizes.iter().any(|sizes| sizes.contains(size));
            is_offered.then(|| Offer { fourcc, rates: rates(device, fourcc, size) })
        })
        .collect()
}

/// All that a device offers, in lines for people.
pub(super) fn modes(device: &Device) -> Vec<CameraMode> {
    let mut modes = Vec::new();
    for fourcc in formats(device) {
        let listed: Vec<(u32, u32)> = sizes(device, fourcc).into_iter().flat_map(Sizes::to_list).collect();
        let now = device.format().ok().filter(|_| listed.is_empty()).map(|format| (format.width, format.height));
        for (width, height) in listed.into_iter().chain(now) {
            if modes.len() == MAX_MODES {
                return modes;
            }
            let mut fps: Vec<f64> =
                rates(device, fourcc, (width, height)).into_iter().flat_map(Rates::to_list).collect();
            sort_fps(&mut fps);
            modes.push(CameraMode { device_format: fourcc.to_string(), width, height, fps });
        }
    }
    modes
}

fn formats(device: &Device) -> impl Iterator<Item = FourCc> {
    (0..MAX_LISTED).map_while(|index| device.format_at(index).ok().flatten())
}

fn sizes(device: &Device, fourcc: FourCc) -> Vec<Sizes> {
    (0..MAX_LISTED).map_while(|index| device.sizes_at(fourcc, index).ok().flatten()).collect()
}

fn rates(device: &Device, fourcc: FourCc, size: (u32, u32)) -> Vec<Rates> {
    (0..MAX_LISTED).map_while(|index| device.rates_at(fourcc, size, index).ok().flatten()).collect()
}

/// Who holds a node open, as far as we may see and within [`HOLDER_TIMEOUT`]: `cheese (pid 4711)`.
pub(super) fn holders(node: &Path) -> Vec<String> {
    let due = Instant::now() + HOLDER_TIMEOUT;
    let own = std::process::id();
    let mut holders = Vec::new();
    for pid in names_in(Path::new("/proc")).filter_map(|name| name.parse::<u32>().ok()) {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let leads_here = |fd: fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|target| target == node);
        if pid != own && open.take_while(|_| Instant::now() < due).any(leads_here) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            holders.push(format!("{} (pid {pid})", name.trim()));
        }
        if Instant::now() >= due {
            break;
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_known_by_their_names() {
        for (name, number) in [("video0", Some(0)), ("video12", Some(12)), ("video", None), ("video1a", None)] {
            assert_eq!(number_of(name), number, "{name}");
        }
        for name in ["vbi0", "video+1", "video99999999999", "media0", ""] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_camera_is_called_by_what_stays() {
        let node = |links: &[&str]| Node {
            number: 3,
            path: PathBuf::from("/dev/video3"),
            links: links.iter().map(|link| (*link).to_owned()).collect(),
        };
        let capability = Capability { card: "Cam".to_owned(), bus: "usb-1".to_owned(), is_camera: true };
        let id = |links: &[&str], capability| found(&node(links), capability).id;
        assert_eq!(
            id(&["usb-Maker_Cam-video-index0", "pci-0-video-index0"], Some(&capability)),
            "usb-Maker_Cam-video-index0"
        );
        assert_eq!(id(&[], Some(&capability)), "usb-1/Cam");
        assert_eq!(id(&["pci-0-video-index0"], None), "pci-0-video-index0");
        assert_eq!(id(&[], None), "/dev/video3");
    }

    #[test]
    fn cameras_of_one_name_are_told_apart() {
        let camera = |id: &str, number| Found {
            id: id.to_owned(),
            number,
            name: String::new(),
            path: PathBuf::from(format!("/dev/video{number}")),
        };
        let mut found = [camera("a", 0), camera("b", 1), camera("a", 2), camera("a", 4)];
        tell_apart(&mut found);
        assert_eq!(found.map(|camera| camera.id), ["a", "b", "a#2", "a#3"]);
    }

    #[test]
    fn a_camera_that_is_not_there_is_named() {
        for camera in [CameraId::Index(u32::MAX), CameraId::Name("/dev/null".to_owned()), CameraId::Name(String::new())]
        {
            let error = find(&camera).unwrap_err();
            assert_eq!(error.reason(), "no_such_device");
            assert!(error.to_string().contains(&camera.to_string()), "{error}");
        }
    }

    #[test]
    fn whoever_holds_a_file_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holders(file.path()), [""; 0], "not we ourselves");
        let held = fs::File::open(file.path()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").stdin(held).spawn().unwrap();
        let pid = child.id();
        let holders = holders(&fs::canonicalize(file.path()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(holders, [format!("sleep (pid {pid})")]);
    }
}
