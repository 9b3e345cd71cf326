//! Which of the ways to read a screen is taken: a decision about what there is, and nothing else.
//!
//! In this order: the compositor's own screencopy, which asks nobody and copies only when something has changed; the
//! desktop's portal, which asks the user; X11, where there is no Wayland. The display that a Wayland session offers to
//! X11's programs (XWayland) is never read: its root window is black, whatever is on the screen.

use super::ScreenTarget;
use crate::source::SourceError;

/// A way to read screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// wlroots' protocol, which Sway, Hyprland, Wayfire, river, labwc and others have.
    Screencopy,
    /// The desktop's portal, through `framehost-portal`.
    Portal,
    /// The X server that `DISPLAY` names.
    X11,
}

/// The Wayland compositor, as far as it could be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compositor {
    /// `WAYLAND_DISPLAY` is not set, or nobody listens there (any more): why.
    Absent(String),
    /// It is there, and cannot be talked to: why.
    Unreachable(String),
    /// It does not let its screens be copied by `zwlr_screencopy_manager_v1`.
    WithoutScreencopy,
    /// It does.
    WithScreencopy,
}

/// What the environment and the compositor offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) compositor: Compositor,
    /// `framehost-portal` is there; else how to get it.
    pub(super) portal: Result<(), String>,
    /// `DISPLAY` is set.
    pub(super) has_x11: bool,
}

/// The way to read `target`; the screens are listed in the way of [`ScreenTarget::Primary`].
///
/// # Errors
///
/// [`SourceError::NoDisplay`] where there is nothing to read, [`SourceError::Missing`] where there is no way to.
pub(super) fn choose(offer: &Offer, target: &ScreenTarget) -> Result<Way, SourceError> {
    match (&offer.compositor, target) {
        (Compositor::WithScreencopy, ScreenTarget::Window(_)) if offer.portal.is_ok() => Ok(Way::Portal),
        (Compositor::WithScreencopy, ScreenTarget::Window(_)) => Err(SourceError::Missing {
            what: "a single window".to_owned(),
            hint: "under Wayland programs are not told of each other's windows; capture the screen, or a region of it"
                .to_owned(),
        }),
        (Compositor::WithScreencopy, ScreenTarget::Primary | ScreenTarget::Screen(_)) => Ok(Way::Screencopy),
        (Compositor::WithoutScreencopy, _) => match &offer.portal {
            Ok(()) => Ok(Way::Portal),
            Err(portal) => {
                let x11 = if offer.has_x11 { "; DISPLAY is XWayland's, which shows black" } else { "" };
                let hint = format!(
                    "this Wayland compositor does not offer zwlr_screencopy_manager_v1 (wlroots' screencopy){x11}, and \
                     {portal}; to capture another X server, unset WAYLAND_DISPLAY"
                );
                Err(SourceError::Missing { what: "the screen".to_owned(), hint })
            }
        },
        (Compositor::Unreachable(problem), _) => Err(SourceError::NoDisplay { problem: problem.clone() }),
        (Compositor::Absent(_), _) if offer.has_x11 => Ok(Way::X11),
        (Compositor::Absent(problem), _) => {
            Err(SourceError::NoDisplay { problem: format!("DISPLAY is not set, and {problem}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_its_way_or_is_told_what_is_missing() {
        let absent = || Compositor::Absent("WAYLAND_DISPLAY is not set".to_owned());
        let unreachable = || Compositor::Unreachable("permission denied: /run/wayland-0".to_owned());
        let (primary, named) = (ScreenTarget::Primary, ScreenTarget::Screen("DP-1".to_owned()));
        let window = ScreenTarget::Window("0x1".to_owned());
        let all = [&primary, &named, &window];
        let cases = [
            (Compositor::WithScreencopy, true, true, &all[..2], Ok(Way::Screencopy)),
            (Compositor::WithScreencopy, false, false, &all[..2], Ok(Way::Screencopy)),
            (Compositor::WithScreencopy, false, true, &all[2..], Err("missing")),
            (Compositor::WithScreencopy, true, false, &all[2..], Ok(Way::Portal)),
            (Compositor::WithoutScreencopy, false, true, &all[..], Err("missing")),
            (Compositor::WithoutScreencopy, false, false, &all[..], Err("missing")),
            (Compositor::WithoutScreencopy, true, true, &all[..], Ok(Way::Portal)),
            (unreachable(), true, true, &all[..], Err("no_display")),
            (unreachable(), false, false, &all[..], Err("no_display")),
            (absent(), true, true, &all[..], Ok(Way::X11)),
            (absent(), true, false, &all[..], Err("no_display")),
        ];
        for (compositor, has_portal, has_x11, targets, expected) in cases {
            let portal = if has_portal { Ok(()) } else { Err("no program".to_owned()) };
            let offer = Offer { compositor, portal, has_x11 };
            for target in targets {
                let chosen = choose(&offer, target).map_err(|error| error.reason());
                assert_eq!(chosen, expected, "{offer:?}, {target:?}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let says = |compositor, has_x11, word: &str| {
            let portal = Err("the portal's program is not there".to_owned());
            let error = choose(&Offer { compositor, portal, has_x11 }, &ScreenTarget::Primary).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        says(Compositor::WithoutScreencopy, true, "XWayland");
        says(Compositor::WithoutScreencopy, false, "zwlr_screencopy_manager_v1");
        says(Compositor::WithoutScreencopy, false, "the portal's program");
        says(Compositor::Absent("WAYLAND_DISPLAY is not set".to_owned()), false, "WAYLAND_DISPLAY is not set");
        says(Compositor::Unreachable("who knows".to_owned()), true, "who knows");
    }
}
