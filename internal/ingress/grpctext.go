package ingress

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is looked up below
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// lenientCodec is gRPC's codec, but for texts that are not UTF-8: Envoy passes on a client's path
// and headers as they are, and where Protocol Buffers refuse the message Envoy gets no decision,
// and lets the client pass.
type lenientCodec struct{ encoding.CodecV2 }

func newLenientCodec() lenientCodec { return lenientCodec{encoding.GetCodecV2("proto")} }

// Unmarshal reads data into v.
func (c lenientCodec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.CodecV2.Unmarshal(data, v)
	m, ok := v.(proto.Message)
	if err == nil || !ok {
		return err //nolint:wrapcheck // gRPC's own
	}
	raw := data.Materialize()
	repairTexts(raw, m.ProtoReflect().Descriptor(), maxTextDepth)
	if err := proto.Unmarshal(raw, m); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	return nil
}

const (
	maxTextDepth = 16 // of messages within messages; Envoy's requests have half of that
	notText      = 0x1a
)

// repairTexts replaces the bytes in the text fields of a message that are not UTF-8 by the control
// character SUB: one for each, so that all lengths stay right, and no path becomes another that
// means something.
func repairTexts(raw []byte, message protoreflect.MessageDescriptor, depth int) {
	for len(raw) > 0 && depth > 0 {
		number, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return
		}
		raw = raw[n:]
		size := protowire.ConsumeFieldValue(number, typ, raw)
		if size < 0 {
			return
		}
		if field := message.Fields().ByNumber(number); field != nil && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(raw)
			switch field.Kind() {
			case protoreflect.StringKind:
				repairText(value)
			case protoreflect.MessageKind:
				repairTexts(value, field.Message(), depth-1)
			}
		}
		raw = raw[size:]
	}
}

func repairText(text []byte) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			text[0] = notText
		}
		text = text[size:]
	}
}
