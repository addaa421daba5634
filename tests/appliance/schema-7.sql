-- What a PiCloud of schema 7 has written: the data of its store, into the tables that the first seven migrations make.
-- An app with two rings, one that no message could be made of, and a pause.
DELETE FROM grants;
DELETE FROM principals;
DELETE FROM meta;
INSERT INTO meta VALUES(1,7,7,10011,1);
INSERT INTO apps VALUES(2,'porch',NULL,'[]',0,1,'{}');
INSERT INTO scripts VALUES(3,2,'count',1,replace('#{ rings: docs::collection("rings").count(#{}) }\n','\n',char(10)),'{"operations_max":5000000,"memory_bytes_max":16777216,"call_depth_max":64,"timeout_ms":10000,"string_bytes_max":1048576,"array_items_max":100000,"map_items_max":10000,"value_bytes_max":262144,"response_bytes_max":1048576,"log_lines_max":200,"log_line_bytes_max":4096,"effects_max":1000,"calls_max":20}');
INSERT INTO scripts VALUES(4,2,'ring',1,replace('docs::collection("rings").create(event.body); #{ heard: true }\n','\n',char(10)),'{"operations_max":5000000,"memory_bytes_max":16777216,"call_depth_max":64,"timeout_ms":10000,"string_bytes_max":1048576,"array_items_max":100000,"map_items_max":10000,"value_bytes_max":262144,"response_bytes_max":1048576,"log_lines_max":200,"log_line_bytes_max":4096,"effects_max":1000,"calls_max":20}');
INSERT INTO scripts VALUES(5,2,'tell',1,replace('docs::collection("messages").create(#{ text: `${event.data.by.to_upper()} is at the door` });\n','\n',char(10)),'{"operations_max":5000000,"memory_bytes_max":16777216,"call_depth_max":64,"timeout_ms":10000,"string_bytes_max":1048576,"array_items_max":100000,"map_items_max":10000,"value_bytes_max":262144,"response_bytes_max":1048576,"log_lines_max":200,"log_line_bytes_max":4096,"effects_max":1000,"calls_max":20}');
INSERT INTO script_versions VALUES(3,1,replace('#{ rings: docs::collection("rings").count(#{}) }\n','\n',char(10)),'{"operations_max":5000000,"memory_bytes_max":16777216,"call_depth_max":64,"timeout_ms":10000,"string_bytes_max":1048576,"array_items_max":100000,"map_items_max":10000,"value_bytes_max":262144,"response_bytes_max":1048576,"log_lines_max":200,"log_line_bytes_max":4096,"effects_max":1000,"calls_max":20}',1796063479650);
INSERT INTO script_versions VALUES(4,1,replace('docs::collection("rings").create(event.body); #{ heard: true }\n','\n',char(10)),'{"operations_max":5000000,"memory_bytes_max":16777216,"call_depth_max":64,"timeout_ms":10000,"string_bytes_max":1048576,"array_items_max":100000,"map_items_max":10000,"value_bytes_max":262144,"response_bytes_max":1048576,"log_lines_max":200,"log_line_bytes_max":4096,"effects_max":1000,"calls_max":20}',1796063479650);
INSERT INTO script_versions VALUES(5,1,replace('docs::collection("messages").create(#{ text: `${event.data.by.to_upper()} is at the door` });\n','\n',char(10)),'{"operations_max":5000000,"memory_bytes_max":16777216,"call_depth_max":64,"timeout_ms":10000,"string_bytes_max":1048576,"array_items_max":100000,"map_items_max":10000,"value_bytes_max":262144,"response_bytes_max":1048576,"log_lines_max":200,"log_line_bytes_max":4096,"effects_max":1000,"calls_max":20}',1796063479650);
INSERT INTO routes VALUES(6,2,'GET','/rings','count','sync','{"max_attempts":5,"backoff":"exponential","base_ms":1000,"max_delay_ms":900000,"jitter":0.2}',1,'{}');
INSERT INTO routes VALUES(7,2,'POST','/rings','ring','sync','{"max_attempts":5,"backoff":"exponential","base_ms":1000,"max_delay_ms":900000,"jitter":0.2}',1,'{}');
INSERT INTO triggers VALUES(8,2,'tell-me','docs','tell',1,'{"max_attempts":2,"backoff":"constant","base_ms":200,"max_delay_ms":900000,"jitter":0.2}','any',NULL,1);
INSERT INTO docs_trigger_details VALUES(8,'rings','["create"]');
INSERT INTO principals VALUES(1,'root',0);
INSERT INTO grants VALUES(1,'InstanceAdmin',0);
INSERT INTO pauses VALUES(2,'as it was left',1796063481284,1);
INSERT INTO audit VALUES(1,1796063479643,1,'deploy','porch','{"changes":{"add app":1,"add route":2,"add script":3,"add trigger":1},"revision":1}','root');
INSERT INTO audit VALUES(2,1796063481284,1,'pause','porch','{}','root');
INSERT INTO entries VALUES(2,'docs','messages','01M8PVKHVNE00B6JA51V2YXHBE','{"text":"ADA is at the door"}',11,NULL,'tell@1 01M8PVKHVJEXSTHK427FA4QG00 01M8PVKHVJEXSTHK427FA4R001');
INSERT INTO entries VALUES(2,'docs','messages','01M8PVKHW3E00975V11RK3DYEE','{"text":"BEN is at the door"}',14,NULL,'tell@1 01M8PVKHVZEVRACC4WR1N5BG00 01M8PVKHVZEVRACC4WR1N5C001');
INSERT INTO entries VALUES(2,'docs','rings','01M8PVKHVJE00A4VGEPERA4DAY','{"by":"ada"}',9,NULL,'ring@1 01M8PVKHVJEXSTHK427FA4QG00 01M8PVKHVJEXSTHK427FA4QG00');
INSERT INTO entries VALUES(2,'docs','rings','01M8PVKHVZE008GFY4C2VG9H6C','{"by":"ben"}',12,NULL,'ring@1 01M8PVKHVZEVRACC4WR1N5BG00 01M8PVKHVZEVRACC4WR1N5BG00');
INSERT INTO entries VALUES(2,'docs','rings','01M8PVKHXHE00A2FW9D4HVV5HQ','{}',15,NULL,'ring@1 01M8PVKHXGEVQ94N9CCF4TW000 01M8PVKHXGEVQ94N9CCF4TW000');
INSERT INTO dead_letters VALUES('01M8PVKJ3EET6R2YN47D9B9001','01M8PVKHXHEW1BM25BTJEPFG01',2,8,'docs',8,'tell',1,'{"op":"create","collection":"rings","id":"01M8PVKHXHE00A2FW9D4HVV5HQ","data":{},"prev_data":null}','{"max_attempts":2,"backoff":"constant","base_ms":200,"max_delay_ms":900000,"jitter":0.2}',NULL,NULL,NULL,1796063479910,1,0,1,'01M8PVKHXGEVQ94N9CCF4TW000','01M8PVKHXGEVQ94N9CCF4TW000',NULL,NULL,NULL,'{"kind":"threw","message":"there is no function to_upper (())","line":1,"column":63,"source_line":"docs::collection(\"messages\").create(#{ text: `${event.data.by.to_upper()} is at the door` });"}',2,1796063479729,1796063479918,1,NULL,NULL,NULL,NULL,NULL,NULL);
