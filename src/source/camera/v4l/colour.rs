//! What a driver's words about colour mean.

use ::v4l::v4l_sys::{
    v4l2_colorspace_V4L2_COLORSPACE_BT2020 as BT2020, v4l2_colorspace_V4L2_COLORSPACE_DCI_P3 as DCI_P3,
    v4l2_colorspace_V4L2_COLORSPACE_DEFAULT as DEFAULT, v4l2_colorspace_V4L2_COLORSPACE_JPEG as JPEG,
    v4l2_colorspace_V4L2_COLORSPACE_RAW as RAW, v4l2_colorspace_V4L2_COLORSPACE_REC709 as REC709,
    v4l2_colorspace_V4L2_COLORSPACE_SMPTE240M as SMPTE240M, v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE as FULL,
    v4l2_quantization_V4L2_QUANTIZATION_LIM_RANGE as LIMITED, v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_601 as ENC_601,
    v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_709 as ENC_709, v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_BT2020 as ENC_BT2020,
    v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_BT2020_CONST_LUM as ENC_BT2020_CONST_LUM,
    v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_SMPTE240M as ENC_SMPTE240M, v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_SYCC as ENC_SYCC,
    v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_XV601 as ENC_XV601, v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_XV709 as ENC_XV709,
};

use super::{super::modes::FourCc, sys::PictureFormat};
use crate::frame::{Colour, Matrix, Range};

/// Luma alone.
const GREY: FourCc = FourCc(*b"GREY");

/// What luma and chroma of a format mean; where the driver leaves it open, what is usual for the size.
///
/// Source: Linux, "Colorspaces": `V4L2_MAP_YCBCR_ENC_DEFAULT`, `V4L2_MAP_QUANTIZATION_DEFAULT`.
pub(super) fn of(format: &PictureFormat) -> Colour {
    let usual = Colour::of_video(format.height);
    let matrix = match format.ycbcr_enc {
        ENC_601 | ENC_XV601 | ENC_SYCC => Matrix::Bt601,
        // SMPTE 240M is no matrix of ours; BT.709 is within a hundredth of it.
        ENC_709 | ENC_XV709 | ENC_SMPTE240M => Matrix::Bt709,
        ENC_BT2020 | ENC_BT2020_CONST_LUM => Matrix::Bt2020,
        _ => match format.colorspace {
            DEFAULT | RAW => usual.matrix,
            REC709 | DCI_P3 | SMPTE240M => Matrix::Bt709,
            BT2020 => Matrix::Bt2020,
            _ => Matrix::Bt601,
        },
    };
    let range = match (format.quantization, format.colorspace) {
        (FULL, _) => Range::Full,
        (LIMITED, _) => Range::Limited,
        (_, JPEG) => Range::Full,
        // Limited by the documentation, yet sensors that see no colour send all their levels, and to take that for
        // limited would lose the darkest and the brightest.
        _ if format.fourcc == GREY => Range::Full,
        _ => usual.range,
    };
    Colour { matrix, range }
}

#[cfg(test)]
mod tests {
    use ::v4l::v4l_sys::{
        v4l2_colorspace_V4L2_COLORSPACE_SMPTE170M as SMPTE170M, v4l2_colorspace_V4L2_COLORSPACE_SRGB as SRGB,
    };

    use super::*;

    #[test]
    fn a_drivers_word_comes_before_what_is_usual() {
        let colour = |fourcc, height, (colorspace, ycbcr_enc, quantization)| {
            of(&PictureFormat { width: 2, height, fourcc, field: 1, stride: 4, colorspace, ycbcr_enc, quantization })
        };
        let check = |height, words, matrix, range| {
            assert_eq!(colour(FourCc(*b"YUYV"), height, words), Colour { matrix, range }, "{words:?}");
        };
        let (limited, full) = (Range::Limited, Range::Full);
        check(480, (DEFAULT, 0, 0), Matrix::Bt601, limited);
        check(720, (DEFAULT, 0, 0), Matrix::Bt709, limited);
        check(720, (RAW, 0, 0), Matrix::Bt709, limited);
        check(720, (SRGB, 0, 0), Matrix::Bt601, limited);
        check(1080, (SMPTE170M, 0, FULL), Matrix::Bt601, full);
        check(480, (REC709, 0, 0), Matrix::Bt709, limited);
        check(480, (REC709, ENC_601, 0), Matrix::Bt601, limited);
        check(480, (SRGB, ENC_709, FULL), Matrix::Bt709, full);
        check(2160, (BT2020, 0, LIMITED), Matrix::Bt2020, limited);
        check(480, (JPEG, 0, 0), Matrix::Bt601, full);
        check(480, (JPEG, 0, LIMITED), Matrix::Bt601, limited);
        check(480, (SRGB, ENC_XV709, 0), Matrix::Bt709, limited);
        assert_eq!(colour(GREY, 480, (SRGB, 0, 0)).range, full);
        assert_eq!(colour(GREY, 480, (SRGB, 0, LIMITED)).range, limited);
    }
}
