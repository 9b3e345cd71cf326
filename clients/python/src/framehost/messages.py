"""The contract's messages, in a descriptor pool of their own.

A program may have its own `ml_inference_pb2`, made of another `ml_inference.proto`: in protobuf's default pool the
second file of that name is an error, so this one is registered nowhere else.
"""

from importlib import resources

from google.protobuf import descriptor_pool, message_factory

_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(resources.files(__package__).joinpath("ml_inference.binpb").read_bytes())

DESCRIPTOR = _pool.FindFileByName("ml_inference.proto")

for _name, _descriptor in DESCRIPTOR.message_types_by_name.items():
    _class = message_factory.GetMessageClass(_descriptor)
    # So that pickle and documentation find it where it is.
    _class.__module__ = __name__
    globals()[_name] = _class

__all__ = ["DESCRIPTOR", *DESCRIPTOR.message_types_by_name]
