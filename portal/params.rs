//! What is said to PipeWire about pictures and their memory.

use std::io::Cursor;

use pipewire::spa::{
    param::{
        ParamType,
        format::{FormatProperties, MediaSubtype, MediaType},
        video::VideoFormat,
    },
    pod::{ChoiceValue, Object, Property, PropertyFlags, Value, object, property, serialize::PodSerializer},
    sys,
    utils::{Choice, ChoiceEnum, ChoiceFlags, Fraction, Id, Rectangle, SpaTypes},
};

/// Largest side of a picture.
const MAX_SIDE: u32 = framehost::frame::MAX_SIDE;

/// Buffers that a compositor may use: as many as asked for, fewest, most.
const BUFFERS: (i32, i32, i32) = (4, 2, 16);

/// Memory that is mapped by everybody alike; a graphics card's is not.
const MEMORY: i32 = 1 << sys::SPA_DATA_MemPtr | 1 << sys::SPA_DATA_MemFd;

/// Bytes that PipeWire reads.
pub(crate) type Pod = Vec<u8>;

/// The formats that can be shown. `fps`: what the hub will ask for.
///
/// Twice as many pictures a second are taken, so that the newest is never older than half of the hub's interval; more
/// would only be copied.
pub(crate) fn formats(fps: f64) -> Option<Pod> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the hub's highest is 240")]
    let most = (fps * 2.0).ceil().clamp(1.0, 1000.0) as u32;
    let rate = |num| Fraction { num, denom: 1 };
    serialize(object!(
        SpaTypes::ObjectParamFormat,
        ParamType::EnumFormat,
        property!(FormatProperties::MediaType, Id, MediaType::Video),
        property!(FormatProperties::MediaSubtype, Id, MediaSubtype::Raw),
        property!(
            FormatProperties::VideoFormat,
            Choice,
            Enum,
            Id,
            VideoFormat::BGRx,
            VideoFormat::BGRx,
            VideoFormat::RGBx,
            VideoFormat::BGRA,
            VideoFormat::RGBA,
        ),
        property!(
            FormatProperties::VideoSize,
            Choice,
            Range,
            Rectangle,
            Rectangle { width: 1920, height: 1080 },
            Rectangle { width: 1, height: 1 },
            Rectangle { width: MAX_SIDE, height: MAX_SIDE }
        ),
        // None of its own: pictures come when something changes.
        property!(FormatProperties::VideoFramerate, Choice, Range, Fraction, rate(0), rate(0), rate(1000)),
        property!(FormatProperties::VideoMaxFramerate, Choice, Range, Fraction, rate(most), rate(1), rate(most)),
    ))
}

/// What is wanted of a format's buffers: plain memory, and what is known about each picture.
pub(crate) fn buffers() -> Option<Vec<Pod>> {
    let (default, min, max) = BUFFERS;
    let count = ChoiceEnum::Range { default, min, max };
    let memory = ChoiceEnum::Flags { default: MEMORY, flags: Vec::new() };
    let int = |choice| Value::Choice(ChoiceValue::Int(Choice(ChoiceFlags::empty(), choice)));
    let buffers = object(
        SpaTypes::ObjectParamBuffers,
        ParamType::Buffers,
        [(sys::SPA_PARAM_BUFFERS_buffers, int(count)), (sys::SPA_PARAM_BUFFERS_dataType, int(memory))],
    );
    [
        serialize(buffers),
        meta(sys::SPA_META_Header, size_of::<sys::spa_meta_header>()),
        meta(sys::SPA_META_VideoCrop, size_of::<sys::spa_meta_region>()),
        meta(sys::SPA_META_VideoTransform, size_of::<sys::spa_meta_videotransform>()),
    ]
    .into_iter()
    .collect()
}

fn meta(kind: u32, size: usize) -> Option<Pod> {
    serialize(object(
        SpaTypes::ObjectParamMeta,
        ParamType::Meta,
        [
            (sys::SPA_PARAM_META_type, Value::Id(Id(kind))),
            (sys::SPA_PARAM_META_size, Value::Int(i32::try_from(size).ok()?)),
        ],
    ))
}

fn object<const N: usize>(kind: SpaTypes, id: ParamType, properties: [(u32, Value); N]) -> Object {
    let properties = properties.map(|(key, value)| Property { key, flags: PropertyFlags::empty(), value });
    Object { type_: kind.as_raw(), id: id.as_raw(), properties: properties.into() }
}

fn serialize(object: Object) -> Option<Pod> {
    let written = PodSerializer::serialize(Cursor::new(Vec::new()), &Value::Object(object)).ok()?;
    Some(written.0.into_inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test panics")]

    use pipewire::spa::pod::Pod as RawPod;

    use super::*;

    #[test]
    fn what_is_said_is_well_formed() {
        for pod in [30.0, 0.01, 240.0].map(|fps| formats(fps).unwrap()).into_iter().chain(buffers().unwrap()) {
            assert!(RawPod::from_bytes(&pod).is_some_and(RawPod::is_object));
        }
    }
}
