//go:build !linux

package main

// asNobody and smallDisk are not to be had here.
func asNobody() (back func())        { return nil }
func smallDisk(string) (back func()) { return nil }
