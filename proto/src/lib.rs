//! The wire: kelson/v1 protobuf, its generated code, conversions to and from the model.
