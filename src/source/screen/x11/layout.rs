//! Which screens and windows there are, and where.

use x11rb::{
    connection::Connection,
    errors::ConnectionError,
    protocol::{
        randr::ConnectionExt as _,
        xproto::{AtomEnum, ConnectionExt as _, MapState, Screen, Window},
    },
};

use super::{super::ScreenTarget, Link, Rect, connect, lost, unless_refused};
use crate::source::{
    SourceError, Stop,
    devices::{ScreenInfo, WindowInfo},
};

/// Windows that are listed.
const MAX_WINDOWS: usize = 128;

/// Longest title that is read, in words of 4 bytes.
const MAX_TITLE_WORDS: u32 = 64;

/// A screen or window.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) rect: Rect,
}

/// The screens, the primary one first, and the windows, the topmost first.
pub(in crate::source::screen) fn list() -> Result<(Vec<ScreenInfo>, Vec<WindowInfo>), SourceError> {
    let (conn, screen_number) = connect(&Stop::default())?;
    let screen = root_screen(&conn, screen_number)?;
    let mut screens = monitors(&conn, screen)?;
    screens.sort_by_key(|screen| !screen.is_primary);
    let windows = window_ids(&conn, screen.root)?
        .into_iter()
        .filter_map(|id| window_info(&conn, screen, id).transpose())
        .take(MAX_WINDOWS)
        .collect::<Result<_, _>>()?;
    Ok((screens, windows))
}

/// Where the target is now.
pub(super) fn find(conn: &Link, screen_number: usize, target: &ScreenTarget) -> Result<Found, SourceError> {
    let screen = root_screen(conn, screen_number)?;
    match target {
        ScreenTarget::Primary | ScreenTarget::Screen(_) => {
            let monitors = monitors(conn, screen)?;
            let is_it = |info: &&ScreenInfo| match target {
                ScreenTarget::Screen(id) => info.id == *id,
                ScreenTarget::Primary | ScreenTarget::Window(_) => info.is_primary,
            };
            let info = monitors.iter().find(is_it).ok_or_else(|| SourceError::NoSuchDevice {
                what: "screen",
                id: if let ScreenTarget::Screen(id) = target { id.clone() } else { "primary".to_owned() },
                available: monitors.iter().map(|info| info.id.clone()).collect(),
            })?;
            let rect = Rect { x: info.x, y: info.y, width: info.width, height: info.height };
            Ok(Found { id: info.id.clone(), rect })
        }
        ScreenTarget::Window(id) => {
            let number = id.strip_prefix("0x").map_or_else(|| id.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            let info = number.map(|number| window_info(conn, screen, number)).transpose()?.flatten();
            let Some(WindowInfo { x, y, width, height, .. }) = info else {
                let available = window_ids(conn, screen.root)?.into_iter().take(16).map(|id| format!("{id:#x}"));
                return Err(SourceError::NoSuchDevice {
                    what: "window that is shown",
                    id: id.clone(),
                    available: available.collect(),
                });
            };
            Ok(Found { id: id.clone(), rect: Rect { x, y, width, height } })
        }
    }
}

fn root_screen(conn: &Link, screen_number: usize) -> Result<&Screen, SourceError> {
    conn.setup().roots.get(screen_number).ok_or_else(|| lost("the display has no screens"))
}

/// The root window as it is now: what the connection began with may have changed.
fn root_rect(conn: &Link, root: Window) -> Result<Rect, SourceError> {
    let geometry = conn.get_geometry(root).map_err(lost)?.reply().map_err(lost)?;
    Ok(Rect { x: 0, y: 0, width: geometry.width.into(), height: geometry.height.into() })
}

/// By RandR 1.5; the whole root window where the display has no monitors.
fn monitors(conn: &Link, screen: &Screen) -> Result<Vec<ScreenInfo>, SourceError> {
    let root = root_rect(conn, screen.root)?;
    let reply = match conn.randr_get_monitors(screen.root, true) {
        Ok(cookie) => unless_refused(cookie.reply())?,
        Err(ConnectionError::UnsupportedExtension) => None,
        Err(error) => return Err(lost(error)),
    };
    let mut screens = Vec::new();
    for monitor in reply.map(|reply| reply.monitors).unwrap_or_default() {
        let name = conn.get_atom_name(monitor.name).map_err(lost)?.reply().map_err(lost)?.name;
        let id = String::from_utf8_lossy(&name).into_owned();
        let rect = Rect {
            x: monitor.x.into(),
            y: monitor.y.into(),
            width: monitor.width.into(),
            height: monitor.height.into(),
        };
        // A monitor that somebody has defined may reach beyond the root window, which cannot be read there.
        if let Some(rect) = rect.clipped(root) {
            screens.push(info(id, rect, monitor.primary));
        }
    }
    if screens.is_empty() {
        screens.push(info("root".to_owned(), root, true));
    }
    if !screens.iter().any(|screen| screen.is_primary)
        && let Some(first) = screens.first_mut()
    {
        first.is_primary = true;
    }
    Ok(screens)
}

fn info(id: String, rect: Rect, is_primary: bool) -> ScreenInfo {
    let Rect { x, y, width, height } = rect;
    // X11 has no logical pixels.
    ScreenInfo { name: id.clone(), id, x, y, width, height, scale: 1.0, is_primary }
}

/// The windows that the window manager knows, the topmost first; without one, the root's children.
fn window_ids(conn: &Link, root: Window) -> Result<Vec<Window>, SourceError> {
    let managed = property(conn, root, b"_NET_CLIENT_LIST_STACKING", u32::MAX / 4)?;
    let mut ids: Vec<Window> = match managed {
        Some(value) => value.as_chunks().0.iter().map(|id| u32::from_ne_bytes(*id)).collect(),
        None => conn.query_tree(root).map_err(lost)?.reply().map_err(lost)?.children,
    };
    ids.reverse();
    Ok(ids)
}

/// A window that is shown on the screen, if only in part.
fn window_info(conn: &Link, screen: &Screen, id: Window) -> Result<Option<WindowInfo>, SourceError> {
    // A window may go between one question and the next: then there is none.
    let Some(attributes) = unless_refused(conn.get_window_attributes(id).map_err(lost)?.reply())? else {
        return Ok(None);
    };
    let Some(geometry) = unless_refused(conn.get_geometry(id).map_err(lost)?.reply())? else {
        return Ok(None);
    };
    let Some(corner) = unless_refused(conn.translate_coordinates(id, screen.root, 0, 0).map_err(lost)?.reply())? else {
        return Ok(None);
    };
    let rect = Rect {
        x: corner.dst_x.into(),
        y: corner.dst_y.into(),
        width: geometry.width.into(),
        height: geometry.height.into(),
    };
    let is_shown = attributes.map_state == MapState::VIEWABLE && id != screen.root;
    let Some(rect) = rect.clipped(root_rect(conn, screen.root)?).filter(|_| is_shown) else {
        return Ok(None);
    };
    let title = match property(conn, id, b"_NET_WM_NAME", MAX_TITLE_WORDS)? {
        Some(title) => title,
        None => property(conn, id, b"WM_NAME", MAX_TITLE_WORDS)?.unwrap_or_default(),
    };
    let Rect { x, y, width, height } = rect;
    let title = String::from_utf8_lossy(&title).into_owned();
    Ok(Some(WindowInfo { id: format!("{id:#x}"), title, x, y, width, height }))
}

fn property(conn: &Link, window: Window, name: &[u8], max_words: u32) -> Result<Option<Vec<u8>>, SourceError> {
    let atom = conn.intern_atom(true, name).map_err(lost)?.reply().map_err(lost)?.atom;
    if atom == u32::from(AtomEnum::NONE) {
        return Ok(None);
    }
    let reply = conn.get_property(false, window, atom, AtomEnum::ANY, 0, max_words).map_err(lost)?.reply();
    Ok(unless_refused(reply)?.map(|reply| reply.value).filter(|value| !value.is_empty()))
}
