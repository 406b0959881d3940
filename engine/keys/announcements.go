package keys

import "encoding/binary"

// prefixAnnouncement is the family of what the operator announces to everybody.
const prefixAnnouncement = '\x01'

// Announcement is the key of an announcement, by its number.
func Announcement(n int64) []byte { return cat(prefixAnnouncement, be64(uint64(n))) }

// Announcements is the prefix of all announcements, in order.
func Announcements() []byte { return []byte{prefixAnnouncement} }

// AnnouncementOf reads the number out of an Announcement key.
func AnnouncementOf(k []byte) (n int64, ok bool) {
	if len(k) != 9 || k[0] != prefixAnnouncement {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(k[1:])), true
}
