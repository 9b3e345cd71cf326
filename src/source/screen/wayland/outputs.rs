//! The compositor's outputs: their names, sizes and places.

use wayland_client::{
    Connection, Dispatch, Proxy, QueueHandle, WEnum,
    protocol::wl_output::{self, WlOutput},
};
use wayland_protocols::xdg::xdg_output::zv1::client::{
    zxdg_output_manager_v1::{self, ZxdgOutputManagerV1},
    zxdg_output_v1::{self, ZxdgOutputV1},
};

use super::{connection::State, cut::Transform};
use crate::source::{SourceError, devices::ScreenInfo, screen::ScreenTarget};

/// Version of `wl_output` from which on a change is complete when `done` says so.
const DONE_SINCE: u32 = 2;

/// An output, as it was announced.
#[derive(Debug)]
pub(super) struct Output {
    /// The compositor's number for it.
    pub(super) global: u32,
    pub(super) proxy: WlOutput,
    xdg: Option<ZxdgOutputV1>,
    /// What the compositor said last.
    told: Facts,
    /// The same as it was when the compositor was done.
    facts: Facts,
}

/// What is known about an output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Facts {
    name: Option<String>,
    description: Option<String>,
    place: (i32, i32),
    shape: Shape,
}

/// What decides where its pixels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shape {
    /// Pixels of the hardware; 0 x 0 while nothing is shown.
    mode: (u32, u32),
    pub(super) transform: Transform,
    /// Rounded up, where the scale is a fraction.
    scale: u32,
    /// Logical pixels, as a person sees it.
    pub(super) logical: Option<(u32, u32)>,
}

impl Shape {
    /// Physical pixels, as a person sees it.
    pub(super) const fn seen(&self) -> (u32, u32) {
        self.transform.turned(self.mode)
    }

    /// Physical pixels for each logical one.
    fn scale(&self) -> f64 {
        match self.logical {
            Some((width, _)) if width > 0 => f64::from(self.seen().0) / f64::from(width),
            Some(_) | None => f64::from(self.scale.max(1)),
        }
    }
}

impl Output {
    pub(super) fn new(global: u32, proxy: WlOutput) -> Self {
        Self { global, proxy, xdg: None, told: Facts::default(), facts: Facts::default() }
    }

    /// Asks for what `wl_output` does not tell.
    pub(super) fn ask_more(&mut self, manager: &ZxdgOutputManagerV1, handle: &QueueHandle<State>) {
        if self.xdg.is_none() {
            self.xdg = Some(manager.get_xdg_output(&self.proxy, handle, self.global));
        }
    }

    /// Tells the compositor that nobody needs to know any more.
    pub(super) fn release(&self) {
        if let Some(xdg) = &self.xdg {
            xdg.destroy();
        }
        if self.proxy.version() >= wl_output::REQ_RELEASE_SINCE {
            self.proxy.release();
        }
    }

    pub(super) fn id(&self) -> String {
        self.facts.name.clone().unwrap_or_else(|| format!("output-{}", self.global))
    }

    pub(super) const fn shape(&self) -> Shape {
        self.facts.shape
    }

    /// Its top left corner on the desktop, in pixels of its own scale: those of other outputs may be larger.
    pub(super) fn place(&self) -> (i32, i32) {
        let scale = self.facts.shape.scale();
        #[expect(clippy::cast_possible_truncation, reason = "`as` keeps what is too large at the largest")]
        let physical = |logical: i32| (f64::from(logical) * scale).round() as i32;
        (physical(self.facts.place.0), physical(self.facts.place.1))
    }

    fn is_shown(&self) -> bool {
        self.facts.shape.mode != (0, 0)
    }

    fn info(&self, is_primary: bool) -> ScreenInfo {
        let id = self.id();
        let ((x, y), (width, height)) = (self.place(), self.facts.shape.seen());
        let name = self.facts.description.clone().unwrap_or_else(|| id.clone());
        ScreenInfo { id, name, x, y, width, height, scale: self.facts.shape.scale(), is_primary }
    }
}

/// The output where the desktop begins, as Wayland knows no primary one; the first if there is none.
fn primary(outputs: &[Output]) -> Option<&Output> {
    let shown = || outputs.iter().filter(|output| output.is_shown());
    shown().find(|output| output.facts.place == (0, 0)).or_else(|| shown().next())
}

/// The outputs that show something, the primary one first.
pub(super) fn screens(outputs: &[Output]) -> Vec<ScreenInfo> {
    let first = primary(outputs).map(|output| output.global);
    let shown = outputs.iter().filter(|output| output.is_shown());
    let mut screens: Vec<_> = shown.map(|output| output.info(Some(output.global) == first)).collect();
    screens.sort_by_key(|screen| !screen.is_primary);
    screens
}

/// The output that is meant.
pub(super) fn find<'a>(outputs: &'a [Output], target: &ScreenTarget) -> Result<&'a Output, SourceError> {
    let found = match target {
        ScreenTarget::Screen(id) => outputs.iter().find(|output| output.is_shown() && output.id() == *id),
        ScreenTarget::Primary | ScreenTarget::Window(_) => primary(outputs),
    };
    found.ok_or_else(|| SourceError::NoSuchDevice {
        what: "screen",
        id: if let ScreenTarget::Screen(id) = target { id.clone() } else { "primary".to_owned() },
        available: screens(outputs).into_iter().map(|screen| screen.id).collect(),
    })
}

fn told(state: &mut State, global: u32) -> Option<&mut Output> {
    state.outputs.iter_mut().find(|output| output.global == global)
}

fn size(width: i32, height: i32) -> Option<(u32, u32)> {
    Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
}

impl Dispatch<WlOutput, u32> for State {
    fn event(
        state: &mut Self,
        proxy: &WlOutput,
        event: wl_output::Event,
        global: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(output) = told(state, *global) else {
            return;
        };
        let shape = &mut output.told.shape;
        match event {
            wl_output::Event::Geometry { x, y, transform, .. } => {
                let number = match transform {
                    WEnum::Value(known) => known.into(),
                    WEnum::Unknown(number) => number,
                };
                shape.transform = Transform::of_wire(number).unwrap_or_default();
                // What the desktop's own protocol says comes afterwards, and counts.
                output.told.place = (x, y);
            }
            wl_output::Event::Mode { flags: WEnum::Value(flags), width, height, .. }
                if flags.contains(wl_output::Mode::Current) =>
            {
                shape.mode = size(width, height).unwrap_or_default();
            }
            wl_output::Event::Scale { factor } => shape.scale = u32::try_from(factor).unwrap_or(1),
            wl_output::Event::Name { name } => output.told.name = Some(name),
            wl_output::Event::Description { description } => output.told.description = Some(description),
            wl_output::Event::Done => output.facts = output.told.clone(),
            _ => {}
        }
        if proxy.version() < DONE_SINCE {
            output.facts = output.told.clone();
        }
    }
}

impl Dispatch<ZxdgOutputV1, u32> for State {
    fn event(
        state: &mut Self,
        _: &ZxdgOutputV1,
        event: zxdg_output_v1::Event,
        global: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(output) = told(state, *global) else {
            return;
        };
        match event {
            zxdg_output_v1::Event::LogicalPosition { x, y } => output.told.place = (x, y),
            zxdg_output_v1::Event::LogicalSize { width, height } => output.told.shape.logical = size(width, height),
            // Both protocols tell the same name; the older ones of `wl_output` do not.
            zxdg_output_v1::Event::Name { name } => output.told.name = Some(name),
            zxdg_output_v1::Event::Description { description } => output.told.description = Some(description),
            zxdg_output_v1::Event::Done => output.facts = output.told.clone(),
            _ => {}
        }
    }
}

impl Dispatch<ZxdgOutputManagerV1, ()> for State {
    fn event(
        _: &mut Self,
        _: &ZxdgOutputManagerV1,
        _: zxdg_output_manager_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_the_true_one_where_it_is_known() {
        let transform = Transform::of_wire(1).unwrap();
        let shape = Shape { mode: (1920, 1200), transform, scale: 2, logical: Some((800, 1280)) };
        assert_eq!(shape.seen(), (1200, 1920));
        assert!((shape.scale() - 1.5).abs() < 1e-9);
        let check = |logical, scale, expected: f64| {
            let shape = Shape { mode: (640, 400), transform: Transform::default(), scale, logical };
            assert!((shape.scale() - expected).abs() < 1e-9);
        };
        check(None, 2, 2.0);
        check(None, 0, 1.0);
        check(Some((0, 0)), 3, 3.0);
        check(Some((320, 200)), 1, 2.0);
    }
}
