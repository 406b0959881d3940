package node

import "testing"

// The doors never share out more descriptors than the machine allows less what is kept
// for the store; where there are few, devices get most of them, and where there are
// enough, both doors get all that they may have.
func TestSplit(t *testing.T) {
	for _, tc := range []struct{ allowed, rest, push int }{
		{0, doorConnectionsMin, doorConnectionsMin},
		{1024, doorConnectionsMin, doorConnectionsMin},
		{4096, 768, 2304},
		{20_000, doorConnectionsScarce, 17_952},
		{65_536, 4512, devicesMax},
		{1 << 20, doorConnectionsMax, devicesMax},
	} {
		rest, push := split(tc.allowed)
		if rest != tc.rest || push != tc.push {
			t.Errorf("of %d the REST door gets %d and the push door %d", tc.allowed, rest, push)
		}
		if tc.allowed >= 2*descriptorsKept && rest+push+descriptorsKept > tc.allowed {
			t.Errorf("of %d nothing is left", tc.allowed)
		}
	}
}
