package rest

// packageCheck: GET pkg/check. The server ships no clients, so a client is never
// told to update. client: go/service/config.go:ConfigHandler.GetUpdateInfo2
func packageCheck(*call) (any, error) {
	return struct {
		Res struct {
			Status int `json:"status"` // 0: up to date
		} `json:"res"`
	}{}, nil
}
