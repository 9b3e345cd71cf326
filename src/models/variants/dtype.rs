//! What tensors are made of, as people call it.

use std::collections::BTreeMap;

/// How many elements a file has of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Elements by kind, `fp16` and the like.
    elements: BTreeMap<&'static str, u64>,
    pub(super) tensors: u64,
}

impl Census {
    pub(super) fn add(&mut self, kind: &'static str, elements: u64) {
        self.tensors += 1;
        let sum = self.elements.entry(kind).or_default();
        *sum = sum.saturating_add(elements);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.tensors += other.tensors;
        for (kind, elements) in &other.elements {
            let sum = self.elements.entry(kind).or_default();
            *sum = sum.saturating_add(*elements);
        }
    }

    /// Elements of all tensors.
    pub(super) fn parameters(&self) -> u64 {
        self.elements.values().fold(0, |sum, elements| sum.saturating_add(*elements))
    }

    pub(super) fn of(&self, kinds: &[&str]) -> u64 {
        kinds.iter().filter_map(|kind| self.elements.get(kind)).fold(0, |sum, elements| sum.saturating_add(*elements))
    }

    /// What most elements are.
    pub(super) fn most(&self) -> Option<&'static str> {
        self.elements.iter().max_by_key(|(_, elements)| **elements).map(|(kind, _)| *kind)
    }
}

/// A data type of safetensors.
pub(super) fn of_safetensors(name: &str) -> &'static str {
    match name {
        "F64" => "fp64",
        "F32" => "fp32",
        "F16" => "fp16",
        "BF16" => "bf16",
        "F8_E4M3" | "F8_E5M2" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => "fp8",
        "F4" => "fp4",
        "I64" => "int64",
        "I32" => "int32",
        "I16" => "int16",
        "I8" => "int8",
        "U64" => "uint64",
        "U32" => "uint32",
        "U16" => "uint16",
        "U8" => "uint8",
        "BOOL" => "bool",
        _ => "other",
    }
}

/// A data type of ONNX. Source: `onnx.proto`, `TensorProto.DataType`.
pub(super) const fn of_onnx(data_type: u64) -> &'static str {
    match data_type {
        1 => "fp32",
        2 => "uint8",
        3 => "int8",
        4 => "uint16",
        5 => "int16",
        6 => "int32",
        7 => "int64",
        8 => "string",
        9 => "bool",
        10 => "fp16",
        11 => "fp64",
        12 => "uint32",
        13 => "uint64",
        16 => "bf16",
        17..=20 => "fp8",
        21 => "uint4",
        22 => "int4",
        23 => "fp4",
        _ => "other",
    }
}

/// A tensor type of GGUF: its name, and how many bytes a block of how many elements takes. Source: ggml, `ggml.c`.
pub(super) const fn of_gguf(kind: u32) -> Option<(&'static str, u64, u64)> {
    Some(match kind {
        0 => ("F32", 4, 1),
        1 => ("F16", 2, 1),
        2 => ("Q4_0", 18, 32),
        3 => ("Q4_1", 20, 32),
        6 => ("Q5_0", 22, 32),
        7 => ("Q5_1", 24, 32),
        8 => ("Q8_0", 34, 32),
        9 => ("Q8_1", 36, 32),
        10 => ("Q2_K", 84, 256),
        11 => ("Q3_K", 110, 256),
        12 => ("Q4_K", 144, 256),
        13 => ("Q5_K", 176, 256),
        14 => ("Q6_K", 210, 256),
        15 => ("Q8_K", 292, 256),
        16 => ("IQ2_XXS", 66, 256),
        17 => ("IQ2_XS", 74, 256),
        18 => ("IQ3_XXS", 98, 256),
        19 => ("IQ1_S", 50, 256),
        20 => ("IQ4_NL", 18, 32),
        21 => ("IQ3_S", 110, 256),
        22 => ("IQ2_S", 82, 256),
        23 => ("IQ4_XS", 136, 256),
        24 => ("I8", 1, 1),
        25 => ("I16", 2, 1),
        26 => ("I32", 4, 1),
        27 => ("I64", 8, 1),
        28 => ("F64", 8, 1),
        29 => ("IQ1_M", 56, 256),
        30 => ("BF16", 2, 1),
        34 => ("TQ1_0", 54, 256),
        35 => ("TQ2_0", 66, 256),
        39 => ("MXFP4", 17, 32),
        _ => return None,
    })
}

/// `general.file_type` of GGUF. Source: llama.cpp, `llama.h`, `llama_ftype`.
pub(super) const fn of_gguf_file(file_type: u64) -> Option<&'static str> {
    Some(match file_type {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4_MOE",
        _ => return None,
    })
}
