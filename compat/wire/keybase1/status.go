// Package keybase1 spells the messages of the protocols keybase.1.* as stock clients
// read and write them: msgpack maps with these field names and numbers. Shapes
// only, no logic.
//
// client: go/protocol/keybase1
package keybase1

// Status is how an error crosses the wire; code 0 is success.
// client: go/protocol/keybase1/common.go:Status
type Status struct {
	Code   int            `codec:"code"`
	Name   string         `codec:"name"`
	Desc   string         `codec:"desc"`
	Fields []StringKVPair `codec:"fields"`
}

// StringKVPair is one field of a Status; keys are case-sensitive.
type StringKVPair struct {
	Key   string `codec:"key"`
	Value string `codec:"value"`
}

// Status codes of framed RPC that compat/status does not name.
// client: go/protocol/keybase1/constants.go:StatusCode
const (
	StatusCanceled = 237
	StatusTimeout  = 1602
)

// TLFVisibility says who may read a folder or conversation.
type TLFVisibility int

// Values of TLFVisibility.
const (
	TLFVisibilityAny     TLFVisibility = 0
	TLFVisibilityPublic  TLFVisibility = 1
	TLFVisibilityPrivate TLFVisibility = 2
)

// DeviceType keys notification counts.
type DeviceType int

// Values of DeviceType.
const (
	DeviceTypeDesktop DeviceType = 0
	DeviceTypeMobile  DeviceType = 1
)
